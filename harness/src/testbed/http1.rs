//! Reading HTTP/1.1 responses from any byte stream.
//!
//! Kept apart from hyper because the odd-request client must see exactly what
//! came over the wire, including a stream that ends where a response should be.

use std::io::{self, Read};

use thiserror::Error;

/// A head larger than this is taken for a broken peer.
const MAX_HEAD_BYTES: usize = 1 << 20;
/// Envoy's own default is 100; a test that raises it should still be readable.
const MAX_HEADERS: usize = 1100;

/// One HTTP/1.1 response, completely read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Names as sent, values byte by byte as Latin-1, in wire order.
    pub headers: Vec<(String, String)>,
    /// The body with any chunked coding removed.
    pub body: Vec<u8>,
}

impl Response {
    /// The first value of a header, its name compared without letter case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        first(&self.headers, name)
    }

    /// The body as text, invalid UTF-8 replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// All values of a header, letter case ignored.
pub(super) fn values<'h>(headers: &'h [(String, String)], name: &str) -> Vec<&'h str> {
    headers
        .iter()
        .filter(|(candidate, _)| candidate.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_str())
        .collect()
}

/// Why no complete response could be read.
#[derive(Debug, Error)]
pub enum ResponseError {
    /// The transport failed; `partial` is what had arrived of the response.
    #[error("reading the response failed after {} bytes: {source}", partial.len())]
    Read {
        /// What had arrived.
        partial: Vec<u8>,
        /// The transport's error.
        source: io::Error,
    },
    /// The peer ended the stream inside a response (or before it, with nothing in `partial`).
    #[error("the stream ended after {} bytes of the response", partial.len())]
    Ended {
        /// What had arrived.
        partial: Vec<u8>,
    },
    /// The bytes are no HTTP/1.1 response.
    #[error("not an HTTP/1.1 response: {what}")]
    Malformed {
        /// What was wrong.
        what: String,
    },
}

/// The first value of `name` among `headers`, without regard to letter case.
pub(crate) fn first<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers
        .iter()
        .find(|(candidate, _)| candidate.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_str())
}

/// Maps every byte to the character of the same number, so nothing is lost.
#[must_use]
pub fn latin1(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

/// Parses the head of a response; `None` while it is incomplete.
/// Gives the status, the headers and the length of the head.
#[allow(clippy::type_complexity)]
pub(crate) fn parse_head(
    bytes: &[u8],
) -> Result<Option<(u16, Vec<(String, String)>, usize)>, httparse::Error> {
    let mut slots = vec![httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut head = httparse::Response::new(&mut slots);
    let httparse::Status::Complete(length) = head.parse(bytes)? else {
        return Ok(None);
    };
    let headers = head
        .headers
        .iter()
        .map(|header| (header.name.to_owned(), latin1(header.value)))
        .collect();
    Ok(Some((head.code.unwrap_or_default(), headers, length)))
}

/// Reads one response. `buffer` holds what was read beyond the previous
/// response and keeps what is read beyond this one; `to_head` says that the
/// request was HEAD, whose response has no body whatever its headers say.
///
/// # Errors
/// See [`ResponseError`].
pub fn read_response<R: Read>(
    reader: &mut R,
    buffer: &mut Vec<u8>,
    to_head: bool,
) -> Result<Response, ResponseError> {
    let mut wire = Wire { reader, buffer };
    loop {
        let (status, headers, length) = loop {
            match parse_head(wire.buffer) {
                Ok(Some(head)) => break head,
                Ok(None) if wire.buffer.len() > MAX_HEAD_BYTES => {
                    return Err(malformed("the head does not end"));
                }
                Ok(None) => wire.need_more()?,
                Err(error) => return Err(malformed(&error.to_string())),
            }
        };
        wire.buffer.drain(..length);
        // An interim response announces the real one.
        if (100..200).contains(&status) && status != 101 {
            continue;
        }
        let body = if to_head || matches!(status, 101 | 204 | 304) {
            Vec::new()
        } else if first(&headers, "transfer-encoding")
            .is_some_and(|coding| coding.to_ascii_lowercase().contains("chunked"))
        {
            wire.chunked()?
        } else if let Some(length) = first(&headers, "content-length") {
            let length = length
                .trim()
                .parse()
                .map_err(|_| malformed("Content-Length is no number"))?;
            wire.exactly(length)?
        } else {
            wire.until_the_end()?
        };
        return Ok(Response {
            status,
            headers,
            body,
        });
    }
}

fn malformed(what: &str) -> ResponseError {
    ResponseError::Malformed {
        what: what.to_owned(),
    }
}

struct Wire<'a, R> {
    reader: &'a mut R,
    buffer: &'a mut Vec<u8>,
}

impl<R: Read> Wire<'_, R> {
    /// Appends what the stream has; `false` at its end.
    fn fill(&mut self) -> Result<bool, ResponseError> {
        let mut block = [0; 16 * 1024];
        loop {
            match self.reader.read(&mut block) {
                Ok(0) => return Ok(false),
                Ok(count) => {
                    self.buffer.extend(block.iter().take(count));
                    return Ok(true);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    return Err(ResponseError::Read {
                        partial: std::mem::take(self.buffer),
                        source,
                    });
                }
            }
        }
    }

    fn need_more(&mut self) -> Result<(), ResponseError> {
        if self.fill()? {
            Ok(())
        } else {
            Err(ResponseError::Ended {
                partial: std::mem::take(self.buffer),
            })
        }
    }

    fn exactly(&mut self, length: usize) -> Result<Vec<u8>, ResponseError> {
        while self.buffer.len() < length {
            self.need_more()?;
        }
        Ok(self.buffer.drain(..length).collect())
    }

    fn until_the_end(&mut self) -> Result<Vec<u8>, ResponseError> {
        while self.fill()? {}
        Ok(std::mem::take(self.buffer))
    }

    fn chunked(&mut self) -> Result<Vec<u8>, ResponseError> {
        let mut body = Vec::new();
        loop {
            let (start, size) = loop {
                match httparse::parse_chunk_size(self.buffer) {
                    Ok(httparse::Status::Complete(found)) => break found,
                    Ok(httparse::Status::Partial) => self.need_more()?,
                    Err(_) => return Err(malformed("bad chunk size")),
                }
            };
            let size = usize::try_from(size).map_err(|_| malformed("chunk too large"))?;
            self.buffer.drain(..start);
            if size == 0 {
                // Trailers, if any, end with an empty line.
                while !self.line()?.is_empty() {}
                return Ok(body);
            }
            body.extend(self.exactly(size)?);
            if !self.line()?.is_empty() {
                return Err(malformed("chunk longer than announced"));
            }
        }
    }

    fn line(&mut self) -> Result<Vec<u8>, ResponseError> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\r\n") {
                let line = self.buffer.drain(..end).collect();
                self.buffer.drain(..2);
                return Ok(line);
            }
            self.need_more()?;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    /// Hands out one byte at a time, so every boundary is exercised.
    struct Drip<'a>(&'a [u8]);

    impl Read for Drip<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let Some((first, rest)) = self.0.split_first() else {
                return Ok(0);
            };
            into[0] = *first;
            self.0 = rest;
            Ok(1)
        }
    }

    #[test]
    fn reads_two_responses_and_then_the_end() {
        let mut stream = Drip(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: \xff\r\n\r\nok\
              HTTP/1.1 403 No\r\ntransfer-encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n1\r\nd\r\n0\r\nx-t: 1\r\n\r\n",
        );
        let mut buffer = Vec::new();
        let one = read_response(&mut stream, &mut buffer, false).unwrap();
        assert_eq!((one.status, one.text().as_str()), (200, "ok"));
        assert_eq!(one.header("x-a"), Some("\u{ff}"));
        let two = read_response(&mut stream, &mut buffer, false).unwrap();
        assert_eq!((two.status, two.text().as_str()), (403, "abcd"));
        let end = read_response(&mut stream, &mut buffer, false).unwrap_err();
        assert!(matches!(end, ResponseError::Ended { partial } if partial.is_empty()));
    }

    #[test]
    fn tells_a_cut_body_from_garbage() {
        let cut = read_response(
            &mut Drip(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"),
            &mut Vec::new(),
            false,
        );
        assert!(matches!(cut, Err(ResponseError::Ended { partial }) if partial == b"abc"));
        let garbage = read_response(&mut Drip(b"hello there\r\n\r\n"), &mut Vec::new(), false);
        assert!(matches!(garbage, Err(ResponseError::Malformed { .. })));
    }

    #[test]
    fn a_response_to_head_has_no_body() {
        let mut stream = Drip(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n");
        let response = read_response(&mut stream, &mut Vec::new(), true).unwrap();
        assert!(response.body.is_empty());
    }
}
