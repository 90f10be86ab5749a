//! NATS JetStream: a real `nats-server` that keeps every message in a file and syncs it before it answers.
//!
//! Each writer has a connection of its own and one message in flight: a publish with an inbox to reply to, and the
//! server's word that the message is stored.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use super::server::{Program, Server};
use crate::Failure;

const STREAM: &str = "bench";
const SUBJECT: &str = "bench.entry";
const INBOX: &str = "inbox";
/// The first version that can sync before it acknowledges.
const SYNCS_FROM: (u32, u32) = (2, 10);

const PROGRAM: Program = Program {
    name: "nats-server",
    switch: "SDPP_JETSTREAM",
    tool: "jetstream",
    config: |port, log: &Path| {
        let store = log.with_file_name("store");
        format!(
            "host: 127.0.0.1\nport: {port}\nlog_file: {log:?}\njetstream {{ store_dir: {store:?}, sync_interval: always }}\n"
        )
    },
    ready: "Server is ready",
};

/// A server with an empty stream. Stopped when dropped.
pub(crate) struct Jetstream {
    server: Server,
}

impl Jetstream {
    /// Why it cannot be measured, if it is not there or too old.
    pub(crate) fn start() -> Result<Result<Self, String>, Failure> {
        // One that is on the path for NATS core may be too old, and the one that was fetched not: both are asked.
        let path = match PROGRAM.find_where(syncs) {
            Ok(path) => path,
            Err(why) => return Ok(Err(format!("{why}; it must be {}.{} or newer", SYNCS_FROM.0, SYNCS_FROM.1))),
        };
        Ok(Ok(Self { server: Server::start(&PROGRAM, &path)? }))
    }

    pub(crate) fn version(&self) -> String {
        self.server.version().unwrap_or_else(|| "unknown".to_owned())
    }

    pub(crate) fn id(&self) -> u32 {
        self.server.id()
    }

    /// Makes the stream that writers append to.
    pub(crate) async fn create(&self) -> Result<(), Failure> {
        let config = format!(
            "{{\"name\":\"{STREAM}\",\"subjects\":[\"{STREAM}.>\"],\"storage\":\"file\",\"retention\":\"limits\",\"discard\":\"old\",\
             \"max_consumers\":-1,\"max_msgs\":-1,\"max_bytes\":-1,\"max_age\":0,\"num_replicas\":1}}"
        );
        self.writer().await?.request(&format!("$JS.API.STREAM.CREATE.{STREAM}"), config.as_bytes()).await
    }

    /// One more connection.
    pub(crate) async fn writer(&self) -> Result<Writer, Failure> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.server.port())).await?;
        stream.set_nodelay(true)?;
        let mut writer =
            Writer { stream: BufReader::new(stream), line: String::new(), out: Vec::new(), answer: Vec::new() };
        writer.line().await?;
        if !writer.line.starts_with("INFO ") {
            return Err("it answers, but not as a server of NATS does".into());
        }
        let inbox = writer.inbox()?;
        let hello = format!("CONNECT {{\"verbose\":false,\"pedantic\":false}}\r\nSUB {inbox} 1\r\n");
        writer.stream.get_mut().write_all(hello.as_bytes()).await?;
        Ok(writer)
    }
}

/// Whether this program can sync before it acknowledges.
fn syncs(path: &Path) -> bool {
    let output = Command::new(path).arg("--version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let numbers = text.split_once('v').map(|(_, version)| version.split('.').map(str::trim).map(str::parse::<u32>));
    let mut numbers = numbers.into_iter().flatten().flatten();
    numbers.next().zip(numbers.next()).is_some_and(|version| version >= SYNCS_FROM)
}

/// One connection.
pub(crate) struct Writer {
    stream: BufReader<TcpStream>,
    line: String,
    out: Vec<u8>,
    answer: Vec<u8>,
}

impl Writer {
    /// Appends one message, and waits until it is stored.
    pub(crate) async fn append(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.request(SUBJECT, bytes).await
    }

    /// Where the server's answers go: of this connection alone.
    fn inbox(&self) -> Result<String, Failure> {
        Ok(format!("{INBOX}.{}", self.stream.get_ref().local_addr()?.port()))
    }

    async fn request(&mut self, subject: &str, bytes: &[u8]) -> Result<(), Failure> {
        let inbox = self.inbox()?;
        self.out.clear();
        self.out.extend(format!("PUB {subject} {inbox} {}\r\n", bytes.len()).into_bytes());
        self.out.extend_from_slice(bytes);
        self.out.extend_from_slice(b"\r\n");
        self.stream.get_mut().write_all(&self.out).await?;
        loop {
            self.line().await?;
            match self.line.trim_end() {
                "PING" => self.stream.get_mut().write_all(b"PONG\r\n").await?,
                line if line.starts_with("INFO ") => {}
                line if line.starts_with("MSG ") => break,
                line => return Err(format!("the server says {line}").into()),
            }
        }
        let length: usize = self.line.trim_end().rsplit(' ').next().unwrap_or_default().parse()?;
        self.answer.resize(length.saturating_add(2), 0);
        self.stream.read_exact(&mut self.answer).await?;
        let said = String::from_utf8_lossy(&self.answer);
        if said.contains("\"error\"") { Err(format!("the server refuses: {said}").into()) } else { Ok(()) }
    }

    async fn line(&mut self) -> Result<(), Failure> {
        self.line.clear();
        let read = self.stream.read_line(&mut self.line).await?;
        if read == 0 { Err("the server has closed the connection".into()) } else { Ok(()) }
    }
}
