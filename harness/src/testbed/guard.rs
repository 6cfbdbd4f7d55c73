//! Processes of others that end with ours, whatever happens.

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Holds the process id, in the process's directory.
pub const PID_FILE: &str = "guarded.pid";

const POLL: Duration = Duration::from_millis(20);
/// The guard below waits 3 s between TERM and KILL; this leaves it room.
const STOP_TIMEOUT: Duration = Duration::from_secs(6);

/// Runs the process as a child and ends it when this process goes away, however
/// it goes: standard input is a pipe that nobody writes to, and its end is seen
/// even after a SIGKILL. Unlike `PR_SET_PDEATHSIG` this is not tied to the
/// thread that happened to start the process, and it needs no unsafe code.
const GUARD: &str = r#"
exec 3<&0
"$@" </dev/null 3<&- &
guarded=$!
echo "$guarded" > guarded.pid
(
  read -r _ <&3
  kill -TERM "$guarded"
  n=0
  while [ "$n" -lt 30 ] && kill -0 "$guarded"; do sleep 0.1; n=$((n+1)); done
  kill -KILL "$guarded"
) 2>/dev/null &
guard=$!
exec 3<&-
wait "$guarded"
status=$?
kill "$guard" 2>/dev/null
exit "$status"
"#;

/// A guarded process; dropping it ends it.
#[derive(Debug)]
pub struct Guarded(Child);

impl Guarded {
    /// Starts the program and arguments of `command` (nothing else of it counts) in `dir`, both
    /// outputs into `log`. It should be a single process: only that one is ended.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(command: &Command, dir: &Path, log: File) -> io::Result<Self> {
        let same_log = log.try_clone()?;
        Command::new("/bin/sh")
            .args(["-c", GUARD, "sh"])
            .arg(command.get_program())
            .args(command.get_args())
            .current_dir(dir)
            .stdin(Stdio::piped())
            .stdout(log)
            .stderr(same_log)
            // A Ctrl-C is ours to handle; the guard then sees the pipe end.
            .process_group(0)
            .spawn()
            .map(Self)
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// The system does not say.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.0.try_wait()
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // The end of this pipe makes the guard end the process.
        drop(self.0.stdin.take());
        let since = Instant::now();
        while let Ok(None) = self.0.try_wait() {
            if since.elapsed() > STOP_TIMEOUT {
                // The guard's own subshell still has its KILL to send.
                let _ = self.0.kill();
                let _ = self.0.wait();
                return;
            }
            std::thread::sleep(POLL);
        }
    }
}
