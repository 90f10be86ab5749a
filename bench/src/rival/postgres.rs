//! `PostgreSQL`: a real server, one row for each entry.
//!
//! Each writer has a connection of its own over loopback TCP and inserts one row at a time by a prepared statement,
//! in a transaction of its own: the answer comes when it is committed and on the disk. The client speaks version 3 of
//! the protocol, as much of it as this takes.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, geteuid, kill_process};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use super::server::{Program, Server};
use crate::Failure;

const USER: &str = "bench";
/// It refuses to run as root: then as `nobody`.
const NOBODY: u32 = 65_534;
/// Longest answer that is read; an insert's has a few bytes.
const ANSWER_MAX: usize = 64 * 1024;
const CONNECTIONS_MAX: u32 = 400;

const PROGRAM: Program = Program {
    name: "postgres",
    switch: "SDPP_POSTGRES",
    tool: "postgres",
    config: |port, _| {
        format!(
            "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = ''\nmax_connections = {CONNECTIONS_MAX}\n\
             fsync = on\nsynchronous_commit = on\nfull_page_writes = on\nshared_buffers = 256MB\nmax_wal_size = 4GB\n"
        )
    },
    ready: "database system is ready to accept connections",
};

/// A server with an empty database. Stopped when dropped.
pub(crate) struct Postgres {
    server: Server,
}

impl Postgres {
    /// Why it cannot be measured, if it is not there.
    pub(crate) fn start() -> Result<Result<Self, String>, Failure> {
        let path = match PROGRAM.find() {
            Ok(path) => path,
            Err(why) => return Ok(Err(why)),
        };
        Ok(Ok(Self { server: Server::start_with(&PROGRAM, |port, folder| command(&path, port, folder))? }))
    }

    pub(crate) fn version(&self) -> String {
        let log = self.server.log();
        let behind = log.split_once("starting PostgreSQL ").map(|(_, behind)| behind);
        behind.and_then(|text| text.split_whitespace().next()).unwrap_or("unknown").to_owned()
    }

    /// The server's first process; each connection has one of its own below it.
    pub(crate) fn id(&self) -> u32 {
        self.server.id()
    }

    /// Makes the table that writers append to.
    pub(crate) async fn create(&self) -> Result<(), Failure> {
        let mut writer = self.connect().await?;
        writer.begin(b'Q', |body| text(body, "CREATE TABLE entries (id bytea PRIMARY KEY, entry bytea NOT NULL)"));
        writer.exchange().await
    }

    /// One more connection, ready to append.
    pub(crate) async fn writer(&self) -> Result<Writer, Failure> {
        let mut writer = self.connect().await?;
        writer.begin(b'P', |body| {
            text(body, "append");
            text(body, "INSERT INTO entries VALUES ($1, $2)");
            body.extend(0_i16.to_be_bytes());
        });
        writer.begin(b'S', |_| {});
        writer.exchange().await?;
        Ok(writer)
    }

    async fn connect(&self) -> Result<Writer, Failure> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.server.port())).await?;
        stream.set_nodelay(true)?;
        let mut writer = Writer { stream: BufReader::new(stream), out: Vec::new(), answer: Vec::new() };
        let mut hello = 196_608_i32.to_be_bytes().to_vec();
        for word in ["user", USER, "database", "postgres", ""] {
            text(&mut hello, word);
        }
        sized(&mut writer.out, |body| body.extend(hello));
        writer.exchange().await?;
        Ok(writer)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // A server that is killed leaves its shared memory behind: asked to stop, it clears up. Where it does not, it
        // is killed by what drops next.
        if let Some(id) = i32::try_from(self.server.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(id, Signal::INT);
            let _ = self.server.ended();
        }
    }
}

/// Makes the database, and how its server is started.
fn command(path: &Path, port: u16, folder: &Path) -> Result<Command, Failure> {
    let data = folder.join("data");
    fs::create_dir(&data)?;
    let as_nobody = geteuid().is_root();
    if as_nobody {
        chown(&data, Some(NOBODY), Some(NOBODY))?;
    }
    let mut initdb = with_rights(path.with_file_name("initdb"), as_nobody);
    initdb.args(["--auth", "trust", "--username", USER, "--encoding", "UTF8", "--locale", "C", "-D"]).arg(&data);
    let made = initdb.stdin(Stdio::null()).output()?;
    if !made.status.success() {
        return Err(format!("initdb has failed: {}", String::from_utf8_lossy(&made.stderr)).into());
    }
    let log = File::create(folder.join("log"))?;
    fs::write(data.join("postgresql.auto.conf"), (PROGRAM.config)(port, folder))?;
    let mut server = with_rights(path.to_owned(), as_nobody);
    server.arg("-D").arg(&data).stdout(log.try_clone()?).stderr(log);
    Ok(server)
}

fn with_rights(program: PathBuf, as_nobody: bool) -> Command {
    let mut command = Command::new(program);
    if as_nobody {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

/// One connection.
pub(crate) struct Writer {
    stream: BufReader<TcpStream>,
    /// Messages that were not sent yet.
    out: Vec<u8>,
    answer: Vec<u8>,
}

impl Writer {
    /// Inserts one row, and waits until it is committed.
    pub(crate) async fn append(&mut self, id: &[u8], entry: &[u8]) -> Result<(), Failure> {
        let (id_bytes, entry_bytes) = (i32::try_from(id.len())?, i32::try_from(entry.len())?);
        self.begin(b'B', |body| {
            text(body, "");
            text(body, "append");
            // Two values, all in binary.
            body.extend([1_i16, 1, 2].into_iter().flat_map(i16::to_be_bytes));
            body.extend(id_bytes.to_be_bytes());
            body.extend_from_slice(id);
            body.extend(entry_bytes.to_be_bytes());
            body.extend_from_slice(entry);
            body.extend(0_i16.to_be_bytes());
        });
        self.begin(b'E', |body| {
            text(body, "");
            body.extend(0_i32.to_be_bytes());
        });
        self.begin(b'S', |_| {});
        self.exchange().await
    }

    /// Adds a message to those that are sent next.
    fn begin(&mut self, kind: u8, write: impl FnOnce(&mut Vec<u8>)) {
        self.out.push(kind);
        sized(&mut self.out, write);
    }

    /// Sends them, and reads until the server is ready for more.
    async fn exchange(&mut self) -> Result<(), Failure> {
        self.stream.get_mut().write_all(&self.out).await?;
        self.out.clear();
        loop {
            let kind = self.stream.read_u8().await?;
            let length = usize::try_from(self.stream.read_i32().await?)?.saturating_sub(4);
            if length > ANSWER_MAX {
                return Err("the server's answer is longer than any that was asked for".into());
            }
            self.answer.resize(length, 0);
            self.stream.read_exact(&mut self.answer).await?;
            match kind {
                b'Z' => return Ok(()),
                b'E' => return Err(format!("the server refuses: {}", said(&self.answer)).into()),
                b'R' if self.answer.iter().any(|byte| *byte != 0) => return Err("the server wants a password".into()),
                _ => {}
            }
        }
    }
}

/// The fields of an error, in one line.
fn said(fields: &[u8]) -> String {
    String::from_utf8_lossy(fields).replace('\0', " ")
}

fn text(body: &mut Vec<u8>, text: &str) {
    body.extend_from_slice(text.as_bytes());
    body.push(0);
}

/// Writes a body with its length, itself included, before it.
fn sized(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let mut body = Vec::new();
    write(&mut body);
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX).saturating_add(4);
    out.extend(length.to_be_bytes());
    out.append(&mut body);
}
