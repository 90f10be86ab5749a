//! Time that passes, and time that processors work for it.

use std::fs;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// How long something took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Took {
    /// By the clock on the wall.
    pub(crate) wall: Duration,
    /// Of all processors together; none where a server's is not to be had.
    pub(crate) cpu: Option<Duration>,
}

/// Runs from its start.
pub(crate) struct Stopwatch {
    wall: Instant,
    cpu: Duration,
    /// A server whose work counts too, and how long it had worked before.
    server: Option<(u32, Option<Duration>)>,
}

impl Stopwatch {
    /// For what happens in this process alone.
    pub(crate) fn start() -> Self {
        Self { cpu: own_cpu(), server: None, wall: Instant::now() }
    }

    /// For what a server of this process id has a part in.
    pub(crate) fn start_with_server(id: u32) -> Self {
        Self { server: Some((id, cpu_of(id))), ..Self::start() }
    }

    pub(crate) const fn started(&self) -> Instant {
        self.wall
    }

    /// What passed since.
    pub(crate) fn stop(&self) -> Took {
        let wall = crate::since(self.wall);
        let own = own_cpu().saturating_sub(self.cpu);
        let cpu = match self.server {
            None => Some(own),
            Some((id, before)) => served(id, before).and_then(|server| own.checked_add(server)),
        };
        Took { wall, cpu }
    }
}

fn served(id: u32, before: Option<Duration>) -> Option<Duration> {
    cpu_of(id)?.checked_sub(before?)
}

/// Of all threads of this process, ended ones too.
pub(crate) fn own_cpu() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}

/// Of all threads of another process. Not from its `stat`, which counts in hundredths of a second: a round has
/// only some dozens of them. A thread that has ended is missed; servers keep theirs.
fn cpu_of(id: u32) -> Option<Duration> {
    let mut sum = Duration::ZERO;
    for thread in fs::read_dir(format!("/proc/{id}/task")).ok()? {
        let Ok(text) = fs::read_to_string(thread.ok()?.path().join("schedstat")) else { continue };
        let worked_ns = text.split_whitespace().next()?.parse().ok()?;
        sum = sum.checked_add(Duration::from_nanos(worked_ns))?;
    }
    (!sum.is_zero()).then_some(sum)
}

/// Of another process and all that it has started and that still run; none where it is not to be had.
pub(crate) fn cpu_of_family(id: u32) -> Option<Duration> {
    let mut sum = cpu_of(id)?;
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let Some(child) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        if parent_of(child) == Some(id) {
            // It may have ended just now, and a fresh one may not have worked yet.
            sum = sum.checked_add(cpu_of(child).unwrap_or_default())?;
        }
    }
    Some(sum)
}

fn parent_of(id: u32) -> Option<u32> {
    let text = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_counts() {
        let watch = Stopwatch::start();
        while watch.stop().cpu.unwrap() < Duration::from_millis(20) {
            assert!(watch.stop().wall < Duration::from_secs(60));
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_server_counts_as_it_counts_itself() {
        let (own, seen) = (own_cpu(), cpu_of(std::process::id()).unwrap());
        // Threads of other tests may have ended.
        assert!(seen <= own_cpu() && own > Duration::ZERO, "{own:?} {seen:?}");
        assert_eq!(cpu_of(u32::MAX), None);
    }
}
