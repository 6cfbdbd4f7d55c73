//! What a process costs, as the kernel counts it.

use std::fs;
use std::time::Duration;

use super::Result;

/// The CPU time of all threads of a process.
pub(crate) fn cpu_time(pid: u32) -> Result<Duration> {
    let mut nanoseconds = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(task?.path().join("schedstat"))?;
        let on_cpu = text.split(' ').next().unwrap_or_default();
        nanoseconds += on_cpu.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanoseconds))
}
