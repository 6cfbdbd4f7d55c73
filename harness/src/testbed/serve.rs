//! `mtls-gate serve`, or `mtls-gate inspector`, as a process of its own: its start, its log, its end.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;
use thiserror::Error;

const POLL: Duration = Duration::from_millis(10);
const READY_WITHIN: Duration = Duration::from_secs(10);
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// Why it does not run, or did not say what was waited for.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The process could not be started or signalled.
    #[error("{}: {source}", path.display())]
    Process {
        /// The binary.
        path: PathBuf,
        /// What happened.
        source: std::io::Error,
    },
    /// It ended, or took too long, before it listened.
    #[error("serve does not listen; it wrote:\n{said}")]
    NotListening {
        /// Its exit status, if it ended.
        status: Option<ExitStatus>,
        /// Standard error.
        said: String,
    },
    /// No line matched in time.
    #[error("no matching line within {waited:?}; there are:\n{lines}")]
    NoLine {
        /// How long it was waited for.
        waited: Duration,
        /// The lines so far.
        lines: String,
    },
}

/// A running server; dropping it ends it.
#[derive(Debug)]
pub struct Serve {
    binary: PathBuf,
    child: Child,
    address: SocketAddr,
    log: Lines,
    said: Lines,
}

/// The lines of a stream, read as they come.
#[derive(Clone, Debug, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    /// The lines, and the thread that reads them to their end.
    fn of(stream: impl Read + Send + 'static) -> (Self, JoinHandle<()>) {
        let lines = Self::default();
        let into = lines.clone();
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stream).lines() {
                let Ok(line) = line else { break };
                into.0
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(line);
            }
        });
        (lines, reader)
    }

    fn all(&self) -> Vec<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn wait_for(
        &self,
        within: Duration,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<String, ServeError> {
        let since = Instant::now();
        loop {
            let lines = self.all();
            if let Some(line) = lines.iter().find(|line| wanted(line)) {
                return Ok(line.clone());
            }
            if since.elapsed() > within {
                return Err(ServeError::NoLine {
                    waited: within,
                    lines: lines.join("\n"),
                });
            }
            std::thread::sleep(POLL);
        }
    }
}

impl Serve {
    /// Starts `binary serve` with these arguments on a free loopback port and waits until it
    /// listens.
    ///
    /// # Errors
    /// It does not.
    pub fn start(binary: &Path, arguments: &[impl AsRef<OsStr>]) -> Result<Self, ServeError> {
        Self::start_as(binary, "serve", arguments)
    }

    /// The same with another command that listens.
    ///
    /// # Errors
    /// It does not.
    pub fn start_as(
        binary: &Path,
        command: &str,
        arguments: &[impl AsRef<OsStr>],
    ) -> Result<Self, ServeError> {
        let failed = |source| ServeError::Process {
            path: binary.to_owned(),
            source,
        };
        let mut child = Command::new(binary)
            .args([command, "--listen", "127.0.0.1:0"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let (log, _) = child.stdout.take().map(Lines::of).unzip();
        let (said, reader) = child.stderr.take().map(Lines::of).unzip();
        let (log, said) = (log.unwrap_or_default(), said.unwrap_or_default());
        let since = Instant::now();
        let address = loop {
            let address = said.all().iter().find_map(|line| {
                let (_, address) = line.strip_prefix("listening on ")?.split_once("://")?;
                address.parse().ok()
            });
            if let Some(address) = address {
                break address;
            }
            let status = child.try_wait().map_err(failed)?;
            if status.is_some() || since.elapsed() > READY_WITHIN {
                let _ = child.kill();
                let _ = child.wait();
                // What it wrote last may still be on its way.
                let _ = reader.map(JoinHandle::join);
                return Err(ServeError::NotListening {
                    status,
                    said: said.all().join("\n"),
                });
            }
            std::thread::sleep(POLL);
        };
        Ok(Self {
            binary: binary.to_owned(),
            child,
            address,
            log,
            said,
        })
    }

    /// The port it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Its log so far, one line for each request.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        self.log.all()
    }

    /// Waits for a log line and reads it as JSON (`--log-format google`).
    ///
    /// # Errors
    /// None matches within 5 s.
    pub fn wait_for_log(&self, wanted: impl Fn(&Value) -> bool) -> Result<Value, ServeError> {
        let parsed = |line: &str| serde_json::from_str::<Value>(line).unwrap_or_default();
        self.log
            .wait_for(Duration::from_secs(5), |line| wanted(&parsed(line)))
            .map(|line| parsed(&line))
    }

    /// What it said on standard error.
    #[must_use]
    pub fn said(&self) -> Vec<String> {
        self.said.all()
    }

    /// Waits until it says something on standard error.
    ///
    /// # Errors
    /// It does not within `within`.
    pub fn wait_until_said(
        &self,
        within: Duration,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<String, ServeError> {
        self.said.wait_for(within, wanted)
    }

    /// Sends a signal, by its name: `HUP`, `TERM`.
    ///
    /// # Errors
    /// It cannot be sent.
    pub fn signal(&self, name: &str) -> Result<(), ServeError> {
        let sent = Command::new("/bin/sh")
            .args(["-c", "kill -s \"$1\" \"$2\"", "sh", name])
            .arg(self.child.id().to_string())
            .status();
        match sent {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(std::io::Error::other(status.to_string())),
            Err(error) => Err(error),
        }
        .map_err(|source| ServeError::Process {
            path: self.binary.clone(),
            source,
        })
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It does not end within `within`.
    pub fn wait(&mut self, within: Duration) -> Result<ExitStatus, ServeError> {
        let since = Instant::now();
        loop {
            let ended = self
                .child
                .try_wait()
                .map_err(|source| ServeError::Process {
                    path: self.binary.clone(),
                    source,
                })?;
            if let Some(status) = ended {
                return Ok(status);
            }
            if since.elapsed() > within {
                return Err(ServeError::NoLine {
                    waited: within,
                    lines: self.said().join("\n"),
                });
            }
            std::thread::sleep(POLL);
        }
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        let _ = self.signal("TERM");
        if self.wait(STOP_WITHIN).is_err() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
