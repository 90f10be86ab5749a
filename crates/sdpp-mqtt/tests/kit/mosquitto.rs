//! A real broker for tests: mosquitto, on a port of its own, with a folder of its own, gone with its
//! value. It needs nothing but the standard library, so that other crates' tests can take it in with
//! `#[path]`.
#![allow(dead_code, unreachable_pub, clippy::print_stderr, reason = "each test file uses its part of the kit")]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Longer than any busy machine needs.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// One of mosquitto's programs: from `SDPP_MOSQUITTO`, the path, or where `tools/mosquitto` puts it.
pub fn program(name: &str) -> PathBuf {
    let named = std::env::var_os("SDPP_MOSQUITTO").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/mosquitto/bin");
    let folders = named.into_iter().chain(std::env::split_paths(&path)).chain([fetched]);
    let found = folders.map(|folder| folder.join(name)).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("{name} is not there: run tools/mosquitto, which fetches it"))
}

pub struct Broker {
    child: Option<Child>,
    folder: PathBuf,
    port: u16,
}

impl Broker {
    /// For anybody.
    pub fn start() -> Self {
        Self::with(|port, _| format!("listener {port} 127.0.0.1\nallow_anonymous true\n"))
    }

    /// With a configuration made from its port and its folder.
    pub fn with(config: impl Fn(u16, &Path) -> String) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("sdpp-mosquitto-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        for _ in 0..20 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            // Started by root, it would take another user's rights and not reach its folder.
            let text = format!("user root\nlog_dest file {}\nlog_type all\n", folder.join("log").display());
            std::fs::write(folder.join("config"), text + &config(port, &folder)).unwrap();
            let mut broker = Self { child: None, folder: folder.clone(), port };
            if broker.try_run() {
                return broker;
            }
            // Somebody was quicker and has the port; the folder stays.
            broker.folder = PathBuf::new();
        }
        panic!("mosquitto does not start: {}", std::fs::read_to_string(folder.join("log")).unwrap_or_default());
    }

    fn try_run(&mut self) -> bool {
        let running = |log: String| log.matches(" running\n").count();
        let before = running(self.log());
        let mut command = Command::new(program("mosquitto"));
        command.arg("-c").arg(self.folder.join("config"));
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let child = self.child.insert(child);
        let start = Instant::now();
        // Its own word: on the port somebody else might answer.
        while running(std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()) == before {
            if child.try_wait().unwrap().is_some() {
                self.child = None;
                return false;
            }
            assert!(start.elapsed() < PATIENCE, "mosquitto does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        true
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    /// Sends it a signal: `STOP` and `CONT`, `TERM`.
    pub fn signal(&self, signal: &str) {
        let id = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &id]).status().unwrap().success());
    }

    /// Ends it without warning.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            child.wait().unwrap();
        }
    }

    /// Ends it in order; with `persistence` in its configuration it keeps its sessions.
    pub fn stop(&mut self) {
        self.signal("TERM");
        self.child.take().unwrap().wait().unwrap();
    }

    /// Starts it again on the same port.
    pub fn run_again(&mut self) {
        assert!(self.try_run(), "mosquitto starts again");
    }

    /// What it wrote down.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// Publishes with mosquitto's own client.
    pub fn publish(&self, topic: &str, payload: &[u8], arguments: &[&str]) {
        let mut command = Command::new(program("mosquitto_pub"));
        let how = if payload.is_empty() { "-n" } else { "-s" };
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-t", topic, how]).args(arguments);
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(payload).unwrap();
        assert!(child.wait().unwrap().success(), "mosquitto_pub");
    }

    /// Subscribes with mosquitto's own client for `count` messages, which it prints by `format`.
    pub fn watch(&self, filter: &str, format: &str, count: usize) -> Watch {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = format!("watch-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let (port, count) = (self.port.to_string(), count.to_string());
        let mut command = Command::new(program("mosquitto_sub"));
        command.args([
            "-h",
            "127.0.0.1",
            "-p",
            &port,
            "-V",
            "mqttv5",
            "-q",
            "2",
            "-i",
            &id,
            "-t",
            filter,
            "-F",
            format,
        ]);
        let child = command.args(["-C", &count, "-W", "60"]).stdout(Stdio::piped()).spawn().unwrap();
        let (start, ready) = (Instant::now(), format!("Sending SUBACK to {id}"));
        while !self.log().contains(&ready) {
            assert!(start.elapsed() < PATIENCE, "mosquitto_sub does not subscribe");
            std::thread::sleep(Duration::from_millis(10));
        }
        Watch(child)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
        if !self.folder.as_os_str().is_empty() {
            if std::thread::panicking() {
                eprintln!("the broker's log:\n{}", self.log());
            }
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

/// mosquitto_sub at work.
pub struct Watch(Child);

impl Watch {
    /// Its messages, as they were printed, when all are there.
    pub fn messages(mut self) -> Vec<String> {
        let mut text = String::new();
        self.0.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
