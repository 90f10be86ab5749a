//! The real program, run as people run it; a server never outlives its test.
#![allow(dead_code, reason = "each test file uses a part")]

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// Long enough for any machine; a test that waits so long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A folder of a test's own, removed at its end.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sdpp-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

pub(crate) fn command(home: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sdpp"));
    command.arg("ledger").args(args).arg("--home").arg(home);
    command.env_remove("SDPP_HOME").env_remove("SDPP_LOG").stdin(Stdio::null());
    command
}

/// Runs it to its end.
pub(crate) fn sdpp(home: &Path, args: &[&str]) -> Output {
    command(home, args).output().expect("the program starts")
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The JSON lines of a command that succeeds.
pub(crate) fn lines(home: &Path, args: &[&str]) -> Vec<Value> {
    let output = sdpp(home, args);
    assert!(output.status.success(), "{args:?}: {}", stderr(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// The one JSON line of a command that succeeds.
pub(crate) fn line(home: &Path, args: &[&str]) -> Value {
    let mut all = lines(home, args);
    assert_eq!(all.len(), 1, "{args:?}: {all:?}");
    all.remove(0)
}

/// What a command that fails says.
pub(crate) fn refused(home: &Path, args: &[&str]) -> String {
    let output = sdpp(home, args);
    // Which of them says why; 0 and the codes of signals are no refusal.
    assert!(matches!(output.status.code(), Some(1..=12)), "{args:?}: {output:?}");
    assert!(output.stdout.is_empty(), "{args:?}: data of a failed command: {output:?}");
    let said = stderr(&output);
    assert!(said.contains("sdpp: "), "{args:?}: {said}");
    said
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("not a text: {value}"))
}

/// A server in a process of its own.
pub(crate) struct Served {
    child: Child,
    ready: Receiver<String>,
    said: Arc<Mutex<String>>,
}

impl Served {
    /// Starts it; it may not be ready yet, or never.
    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
        let (stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let (tell, ready) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = tell.send(line);
            }
        });
        let said = Arc::new(Mutex::new(String::new()));
        let heard = said.clone();
        thread::spawn(move || {
            let mut piece = [0; 1024];
            while let Ok(count @ 1..) = stderr.read(&mut piece) {
                heard.lock().unwrap().push_str(&String::from_utf8_lossy(&piece[..count]));
            }
        });
        Self { child, ready, said }
    }

    /// Starts it and waits until it is ready; gives its URL too.
    pub(crate) fn start(home: &Path, args: &[&str]) -> (Self, String) {
        let served = Self::spawn(command(home, args));
        let url = served.url();
        (served, url)
    }

    /// Its URL, when it is ready.
    pub(crate) fn url(&self) -> String {
        match self.ready.recv_timeout(PATIENCE) {
            Ok(line) => line.strip_prefix("ready ").unwrap_or_else(|| panic!("not ready: {line}")).to_owned(),
            Err(RecvTimeoutError::Timeout) => panic!("it does not become ready: {}", self.said()),
            Err(RecvTimeoutError::Disconnected) => panic!("it ended: {}", self.said()),
        }
    }

    /// Its first word when it is ready, or how it ended before.
    pub(crate) fn ready_or_dead(&mut self) -> Result<String, ExitStatus> {
        match self.ready.recv_timeout(PATIENCE) {
            Ok(line) => Ok(line.strip_prefix("ready ").unwrap_or_else(|| panic!("not ready: {line}")).to_owned()),
            Err(RecvTimeoutError::Timeout) => panic!("it does not become ready: {}", self.said()),
            Err(RecvTimeoutError::Disconnected) => Err(self.wait()),
        }
    }

    /// All that it said on standard error so far.
    pub(crate) fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(start.elapsed() < PATIENCE, "it does not end: {}", self.said());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Stops it as a supervisor does.
    pub(crate) fn stop(mut self) {
        self.signal("TERM");
        let status = self.wait();
        assert_eq!(status.code(), Some(0), "{}", self.said());
        until(|| self.said().contains("stopping"));
    }

    /// The same; it has to say this at its end.
    pub(crate) fn stop_saying(mut self, what: &str) {
        self.signal("TERM");
        assert_eq!(self.wait().code(), Some(0), "{}", self.said());
        until(|| self.said().contains(what));
    }

    /// Asks it to end, and says how it did.
    pub(crate) fn asked_to_end(mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait()
    }

    /// Kills it without a word.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address that stays free while its server is down: outside of what the system gives to others.
pub(crate) fn fixed_address() -> String {
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(61);
    loop {
        let number = start.wrapping_add(TAKEN.fetch_add(1, Ordering::SeqCst)) % 10_000;
        let address = format!("127.0.0.1:{}", 20_000 + number);
        if TcpListener::bind(&address).is_ok() {
            return address;
        }
    }
}

/// Waits for something that comes soon; what never comes is a failure.
pub(crate) fn until(mut what: impl FnMut() -> bool) {
    let start = Instant::now();
    while !what() {
        assert!(start.elapsed() < PATIENCE, "it did not come");
        thread::sleep(Duration::from_millis(5));
    }
}
