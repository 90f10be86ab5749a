//! Servers of other projects: found, started, and stopped whatever happens.

use std::fs;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::PATIENCE;
use crate::Failure;
use crate::folder::{Folder, own_target};

/// Somebody else may be quicker at taking a free port: so many are tried.
const PORTS_MAX: u32 = 5;
/// Where systems keep servers, beside the path.
const SERVER_FOLDERS: [&str; 2] = ["/usr/local/sbin", "/usr/sbin"];

/// A server's program.
pub(crate) struct Program {
    pub(crate) name: &'static str,
    /// The environment variable with the folder that it is in.
    pub(crate) switch: &'static str,
    /// Which of `tools/` fetches it, into a folder of that name below `target/`.
    pub(crate) tool: &'static str,
    /// Its configuration, for a port of 127.0.0.1 and the file that it logs into.
    pub(crate) config: fn(u16, &Path) -> String,
    /// What it logs when it listens.
    pub(crate) ready: &'static str,
}

impl Program {
    /// Where it is; else what to do.
    pub(crate) fn find(&self) -> Result<PathBuf, String> {
        self.find_where(|_| true)
    }

    /// The same for one that has to be good for something.
    pub(crate) fn find_where(&self, is_good: impl Fn(&Path) -> bool) -> Result<PathBuf, String> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let named = std::env::var_os(self.switch).map(PathBuf::from);
        let usual = std::env::split_paths(&path).chain(SERVER_FOLDERS.map(PathBuf::from));
        let fetched = own_target().join(self.tool).join("bin");
        let folders = named.into_iter().chain(usual).chain([fetched]);
        let found = folders.map(|folder| folder.join(self.name)).find(|path| path.is_file() && is_good(path));
        let Self { name, switch, tool, .. } = self;
        found.ok_or_else(|| format!("{name}; tools/{tool} fetches it, or {switch} names the folder that has it"))
    }
}

/// A server at work: its own port, its own folder, gone when dropped.
pub(crate) struct Server {
    child: Child,
    port: u16,
    folder: Folder,
}

impl Server {
    /// Starts it and waits until it listens.
    pub(crate) fn start(program: &Program, path: &Path) -> Result<Self, Failure> {
        Self::start_with(program, |port, folder| {
            let config = folder.join("config");
            fs::write(&config, (program.config)(port, &folder.join("log")))?;
            let mut command = Command::new(path);
            command.arg("-c").arg(&config).stdout(Stdio::null()).stderr(Stdio::null());
            Ok(command)
        })
    }

    /// The same for one that is not started by its configuration alone: `make` says how, for a port and a folder, in
    /// which it must log into `log`.
    pub(crate) fn start_with(
        program: &Program,
        make: impl Fn(u16, &Path) -> Result<Command, Failure>,
    ) -> Result<Self, Failure> {
        let mut said = String::new();
        for _ in 0..PORTS_MAX {
            let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
            let folder = Folder::new("bench-servers")?;
            let child = make(port, folder.path())?.stdin(Stdio::null()).spawn()?;
            let mut server = Self { child, port, folder };
            if server.listens(program.ready)? {
                return Ok(server);
            }
            said = server.log();
        }
        Err(format!("{} does not start: {said}", program.name).into())
    }

    /// Waits for its own word, since on the port somebody else might answer. False when it has ended, or says nothing.
    fn listens(&mut self, ready: &str) -> Result<bool, Failure> {
        let start = Instant::now();
        while crate::since(start) < PATIENCE && self.child.try_wait()?.is_none() {
            if self.log().contains(ready) {
                return Ok(true);
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(false)
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// What it logs of itself.
    pub(crate) fn version(&self) -> Option<String> {
        let log = self.log();
        let (_, behind) = log.split_once("ersion")?;
        behind.split([':', ' ', '\n']).find(|word| !word.is_empty()).map(str::to_owned)
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// Waits until it has ended by itself, for as long as anybody is waited for.
    pub(crate) fn ended(&mut self) -> io::Result<()> {
        let start = Instant::now();
        while crate::since(start) < PATIENCE && self.child.try_wait()?.is_none() {
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROGRAM: Program = Program {
        name: "sdpp-no-such-server",
        switch: "SDPP_NO_SUCH_SERVER",
        tool: "no-such-tool",
        config: |_, _| String::new(),
        ready: "ready",
    };

    #[test]
    fn what_is_not_there_is_said_with_what_to_do() {
        let why = PROGRAM.find().unwrap_err();
        assert!(why.contains("tools/no-such-tool fetches it, or SDPP_NO_SUCH_SERVER names"), "{why}");
    }

    #[test]
    fn a_server_that_ends_at_once_is_not_waited_for() {
        let start = Instant::now();
        let failure = Server::start(&PROGRAM, Path::new("false")).map(|_| ()).unwrap_err();
        assert!(failure.to_string().contains("does not start") && crate::since(start) < PATIENCE);
    }
}
