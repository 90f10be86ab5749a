//! NATS core: a real `nats-server`, one publisher, one subscriber.
//!
//! The client is the plain text protocol on the standard library's sockets: a library would do no less
//! per message. Each message is a `PUB` of its own; the publisher gathers 64 KiB of them for a write and
//! the subscriber reads 256 KiB at once, as good clients do. NATS core acknowledges nothing.

use std::io::{BufRead as _, BufReader, BufWriter, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::sync::mpsc;
use std::thread;

use super::PATIENCE;
use super::server::{Program, Server};
use crate::Failure;
use crate::clock::{Stopwatch, Took};

const SUBJECT: &str = "bench";
const WRITE_BYTES: usize = 64 * 1024;
const READ_BYTES: usize = 256 * 1024;

/// A subscriber that lags behind is waited for, not thrown out.
pub(super) const PROGRAM: Program = Program {
    name: "nats-server",
    switch: "SDPP_NATS",
    tool: "nats",
    config: |port, log: &Path| {
        format!(
            "host: 127.0.0.1\nport: {port}\nlog_file: {log:?}\nmax_payload: 8MB\nmax_pending: 2GB\nwrite_deadline: \"20s\"\n"
        )
    },
    ready: "Server is ready",
};

/// Moves so many messages; from both connections to the last message and the server's word for all.
pub(super) fn run(server: &Server, size: usize, messages: u64) -> Result<Took, Failure> {
    let port = server.port();
    let watch = Stopwatch::start_with_server(server.id());
    thread::scope(|scope| {
        let (tell, told) = mpsc::channel();
        let receiving = scope.spawn(move || subscribe(port, size, messages, &tell));
        // Where it ends without a word, its own error says why.
        let published = told.recv().map_err(Failure::from).and_then(|()| publish(port, size, messages));
        receiving.join().map_err(|_| "the receiving thread panicked")??;
        published
    })?;
    Ok(watch.stop())
}

fn publish(port: u16, size: usize, messages: u64) -> Result<(), Failure> {
    let mut client = Client::connect(port)?;
    client.round_trip("")?;
    let mut message = format!("PUB {SUBJECT} {size}\r\n").into_bytes();
    message.extend((0..=u8::MAX).cycle().take(size));
    message.extend(b"\r\n");
    let mut out = BufWriter::with_capacity(WRITE_BYTES, &client.stream);
    for _ in 0..messages {
        out.write_all(&message)?;
    }
    out.flush()?;
    drop(out);
    client.round_trip("")
}

fn subscribe(port: u16, size: usize, messages: u64, tell: &mpsc::Sender<()>) -> Result<(), Failure> {
    let mut client = Client::connect(port)?;
    client.round_trip(&format!("SUB {SUBJECT} 1\r\n"))?;
    tell.send(())?;
    let wanted = format!("MSG {SUBJECT} 1 {size}");
    let mut payload = vec![0; size.saturating_add(2)];
    let mut left = messages;
    while left > 0 {
        let line = client.line()?;
        if line == wanted {
            client.input.read_exact(&mut payload)?;
            left = left.saturating_sub(1);
        } else {
            client.other()?;
        }
    }
    Ok(())
}

/// One connection to the server.
struct Client {
    stream: TcpStream,
    input: BufReader<TcpStream>,
    line: String,
}

impl Client {
    fn connect(port: u16) -> Result<Self, Failure> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let input = BufReader::with_capacity(READ_BYTES, stream.try_clone()?);
        let mut client = Self { stream, input, line: String::new() };
        if !client.line()?.starts_with("INFO ") {
            return Err("it answers, but not as a server of NATS does".into());
        }
        client.stream.write_all(b"CONNECT {\"verbose\":false,\"pedantic\":false}\r\n")?;
        Ok(client)
    }

    /// Sends commands, and waits until the server has done all that was sent.
    fn round_trip(&mut self, commands: &str) -> Result<(), Failure> {
        self.stream.write_all(format!("{commands}PING\r\n").as_bytes())?;
        while self.line()? != "PONG" {
            self.other()?;
        }
        Ok(())
    }

    fn line(&mut self) -> Result<&str, Failure> {
        self.line.clear();
        self.input.read_line(&mut self.line)?;
        Ok(self.line.strip_suffix("\r\n").ok_or("the server has closed the connection")?)
    }

    /// What comes between: the server's own ping wants its answer, anything else is an error.
    fn other(&mut self) -> Result<(), Failure> {
        match self.line.trim_end() {
            "PING" => Ok(self.stream.write_all(b"PONG\r\n")?),
            line if line.starts_with("INFO ") => Ok(()),
            line => Err(format!("the server says {line}").into()),
        }
    }
}
