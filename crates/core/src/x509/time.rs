//! Points in time as certificates and variables write them.

use core::fmt;

use time::OffsetDateTime;

/// Seconds since 1970-01-01T00:00:00Z, without leap seconds; negative before that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixSeconds(pub i64);

/// RFC 3339 with whole seconds and a numeric offset, as Google writes it: `2022-07-01T18:05:09+00:00`.
///
/// Outside the years -9999 to 9999, which no certificate can name, the number of seconds.
impl fmt::Display for UnixSeconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ok(t) = OffsetDateTime::from_unix_timestamp(self.0) else {
            return write!(f, "{}", self.0);
        };
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}+00:00",
            t.year(),
            u8::from(t.month()),
            t.day(),
            t.hour(),
            t.minute(),
            t.second()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_google_form() {
        let print = |seconds| UnixSeconds(seconds).to_string();
        assert_eq!(print(0), "1970-01-01T00:00:00+00:00");
        assert_eq!(print(1_656_698_709), "2022-07-01T18:05:09+00:00");
        assert_eq!(print(4_107_542_399), "2100-02-28T23:59:59+00:00");
        assert_eq!(print(-1), "1969-12-31T23:59:59+00:00");
        assert_eq!(print(253_402_300_799), "9999-12-31T23:59:59+00:00");
        assert_eq!(print(i64::MAX), i64::MAX.to_string());
    }
}
