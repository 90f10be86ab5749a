//! A writer that may block for as long as it likes: standard output, a child process.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use sdpp_proto::message::Message;
use tokio::sync::Notify;

use super::form::{Form, Former};
use super::{Mark, Ready, Sink, Stream};
use crate::journal::Barrier;

/// Bytes that wait for the writer at most, apart from one frame's messages.
const QUEUE_MAX: usize = 1024 * 1024;

/// A writer on a thread of its own, behind a queue that is bounded.
///
/// Messages are held once the writer has taken them, and paid for then. It cannot go back: after a
/// restart the reader may get again what was written since the last durable payment, or since the
/// last durable intent to pay where money moves at once; never more than may be outstanding.
pub struct PipeSink {
    name: String,
    former: Former,
    shared: Arc<Shared>,
    /// Messages of the frame that is being taken.
    buffer: Vec<u8>,
    /// The first message not taken.
    next: u64,
    child: Option<Child>,
    thread: Option<JoinHandle<()>>,
}

/// Bytes, and the first message that is not among them.
type Chunk = (Vec<u8>, u64);

#[derive(Default)]
struct State {
    queue: VecDeque<Chunk>,
    bytes: usize,
    /// The first message that the writer has not taken.
    written: u64,
    /// Why the writer takes nothing more.
    failed: Option<io::ErrorKind>,
    /// The session has heard that the reader has enough.
    told: bool,
    /// Nothing more comes.
    closing: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Wakes the thread.
    filled: Condvar,
    /// Wakes the session.
    moved: Notify,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread: takes what waits, writes it, says so.
    fn run(&self, mut writer: Box<dyn Write + Send>) {
        loop {
            let mut state = self.lock();
            while state.queue.is_empty() && !state.closing {
                state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            let Some((bytes, end)) = state.queue.pop_front() else { return };
            drop(state);
            let written = writer.write_all(&bytes).and_then(|()| writer.flush());
            let mut state = self.lock();
            state.bytes = state.bytes.saturating_sub(bytes.len());
            let failed = written.is_err();
            match written {
                Ok(()) => state.written = end,
                Err(error) => state.failed = Some(error.kind()),
            }
            drop(state);
            self.moved.notify_waiters();
            if failed {
                return;
            }
        }
    }

    /// Ends when `done` says so, or with the writer's failure.
    async fn wait(&self, done: impl Fn(&State) -> bool) -> io::Result<()> {
        loop {
            let mut moved = std::pin::pin!(self.moved.notified());
            // From here on no movement is missed.
            moved.as_mut().enable();
            if let Some(result) = self.tell(&done) {
                return result;
            }
            moved.await;
        }
    }

    fn tell(&self, done: &impl Fn(&State) -> bool) -> Option<io::Result<()>> {
        let mut state = self.lock();
        let result = look(&state, done)?;
        state.told |= result.is_err();
        Some(result)
    }
}

/// The answer, if there is one. That the reader has enough is said once.
fn look(state: &State, done: &impl Fn(&State) -> bool) -> Option<io::Result<()>> {
    match state.failed {
        Some(io::ErrorKind::BrokenPipe) if state.told => Some(Ok(())),
        Some(kind) => Some(Err(kind.into())),
        None => done(state).then_some(Ok(())),
    }
}

impl PipeSink {
    /// Writes to a writer; `name` is for people.
    ///
    /// # Errors
    /// The system's, if it gives no thread.
    pub fn new(name: impl Into<String>, writer: Box<dyn Write + Send>, form: Form) -> io::Result<Self> {
        let shared: Arc<Shared> = Arc::default();
        let (theirs, named) = (shared.clone(), std::thread::Builder::new().name("sdpp-pipe".into()));
        let thread = named.spawn(move || theirs.run(writer))?;
        let former = Former::new(form);
        let name = name.into();
        Ok(Self { name, former, shared, buffer: Vec::new(), next: 0, child: None, thread: Some(thread) })
    }

    /// Writes to standard output.
    ///
    /// # Errors
    /// The system's, if it gives no thread.
    pub fn stdout(form: Form) -> io::Result<Self> {
        Self::new("stdout", Box::new(io::stdout()), form)
    }

    /// Starts a program, without a shell, and writes to its standard input. Its other streams are
    /// those of this process.
    ///
    /// # Errors
    /// The system's: there is no such program, for example.
    pub fn child(command: &[String], form: Form) -> io::Result<Self> {
        let (program, arguments) =
            command.split_first().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no program is named"))?;
        let mut child = Command::new(program).args(arguments).stdin(Stdio::piped()).spawn()?;
        let input = child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let mut sink = Self::new(format!("exec:{}", command.join(" ")), Box::new(input), form)?;
        sink.child = Some(child);
        Ok(sink)
    }

    /// Writes what waits, ends the writer, and waits for the child, if it is one. May take as long as
    /// the reader likes: not for a task of a runtime.
    ///
    /// # Errors
    /// What the writer met, unless the reader had enough.
    pub fn finish(mut self) -> io::Result<Option<ExitStatus>> {
        self.end();
        if let Some(thread) = self.thread.take() {
            // It does not panic; and if it did, there is nothing to add.
            let _ = thread.join();
        }
        let failed = self.shared.lock().failed;
        let status = self.child.take().map(|mut child| child.wait()).transpose()?;
        match failed {
            None | Some(io::ErrorKind::BrokenPipe) => Ok(status),
            Some(kind) => Err(kind.into()),
        }
    }

    fn end(&mut self) {
        self.hand_over();
        self.shared.lock().closing = true;
        self.shared.filled.notify_one();
    }

    fn hand_over(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        let bytes = std::mem::take(&mut self.buffer);
        let mut state = self.shared.lock();
        if state.failed.is_none() {
            state.bytes = state.bytes.saturating_add(bytes.len());
            state.queue.push_back((bytes, self.next));
            drop(state);
            self.shared.filled.notify_one();
        }
    }

    /// None if the condition holds already.
    fn ready(&mut self, done: impl Fn(&State) -> bool + Send + Sync + 'static) -> Option<Ready<'_>> {
        self.hand_over();
        if let Some(Ok(())) = look(&self.shared.lock(), &done) {
            return None;
        }
        let shared = &self.shared;
        Some(Box::pin(async move { shared.wait(done).await }))
    }
}

impl Sink for PipeSink {
    fn begin(&mut self, stream: &Stream) -> io::Result<()> {
        self.former.begin(stream);
        Ok(())
    }

    fn room(&mut self) -> Option<Ready<'_>> {
        self.ready(|state| state.bytes < QUEUE_MAX)
    }

    fn write(&mut self, seq: u64, message: &Message<'_>) -> io::Result<()> {
        self.former.write(seq, message, &mut self.buffer)?;
        self.next = seq.saturating_add(1);
        Ok(())
    }

    fn held(&mut self, through: u64) -> Option<Ready<'_>> {
        // What never came cannot be written; what came is.
        let through = through.min(self.next);
        self.ready(move |state| state.written >= through)
    }

    fn flush(&mut self) -> io::Result<Option<Arc<dyn Barrier>>> {
        self.hand_over();
        Ok(None)
    }

    fn go_back(&mut self, _mark: &Mark) -> io::Result<bool> {
        Ok(false)
    }

    fn describe(&self) -> Option<String> {
        Some(format!("{}:{}", self.former.name(), self.name))
    }
}

impl Drop for PipeSink {
    /// The thread writes what waits and ends by itself.
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::super::{Encoding, Tee};
    use super::*;

    const LINES: Form = Form::Lines(Encoding::Raw);

    /// A pipe whose reader the test is.
    struct Reluctant(mpsc::SyncSender<Vec<u8>>);

    impl Write for Reluctant {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn reluctant() -> (PipeSink, mpsc::Receiver<Vec<u8>>) {
        let (sender, reader) = mpsc::sync_channel(0);
        (PipeSink::new("test", Box::new(Reluctant(sender)), LINES).unwrap(), reader)
    }

    fn write(sink: &mut impl Sink, seq: u64, bytes: &[u8]) -> io::Result<()> {
        sink.write(seq, &Message { time_us: 0, bytes, signature: None })
    }

    #[tokio::test]
    async fn messages_are_held_once_the_reader_has_them() {
        let (mut sink, reader) = reluctant();
        write(&mut sink, 0, b"one").unwrap();
        assert!(sink.room().is_none(), "the queue has room");
        assert!(sink.held(0).is_none());
        assert!(sink.held(1).is_some(), "nobody has read it");
        let held = sink.held(1).unwrap();
        let reading = std::thread::spawn(move || (reader.recv().unwrap(), reader));
        held.await.unwrap();
        assert!(sink.held(1).is_none());
        let (read, reader) = reading.join().unwrap();
        assert_eq!(read, b"one\n");
        assert!(!sink.go_back(&Mark::default()).unwrap());
        drop(reader);
    }

    #[tokio::test]
    async fn a_queue_that_is_full_says_so_and_what_waits_is_bounded() {
        let (mut sink, reader) = reluctant();
        let payload = vec![b'x'; QUEUE_MAX / 4];
        let mut seq = 0;
        while sink.room().is_none() {
            write(&mut sink, seq, &payload).unwrap();
            seq += 1;
            assert!(seq < 10);
        }
        let room = sink.room().unwrap();
        let reading = std::thread::spawn(move || reader.iter().map(|bytes| bytes.len()).sum::<usize>());
        room.await.unwrap();
        assert!(sink.room().is_none());
        assert_eq!(sink.finish().unwrap(), None);
        assert_eq!(reading.join().unwrap() as u64, seq * (payload.len() as u64 + 1), "all of it");
    }

    #[tokio::test]
    async fn a_reader_that_goes_away_has_enough_and_is_said_once() {
        let (mut sink, reader) = reluctant();
        write(&mut sink, 0, b"one").unwrap();
        drop(reader);
        let error = sink.held(1).unwrap().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        write(&mut sink, 1, b"two").unwrap();
        assert!(sink.held(2).is_none() && sink.room().is_none(), "it takes everything from now on");
        sink.finish().unwrap();
    }

    #[tokio::test]
    async fn the_other_side_of_a_tee_gets_everything() {
        let (pipe, reader) = reluctant();
        let path = std::env::temp_dir().join(format!("sdpp-tee-{}", std::process::id()));
        let mut tee = Tee::new(super::super::FileSink::lines(&path).unwrap(), pipe);
        drop(reader);
        write(&mut tee, 0, b"one").unwrap();
        tee.held(1).unwrap().await.unwrap_err();
        write(&mut tee, 1, b"two").unwrap();
        let position = tee.position();
        write(&mut tee, 2, b"three").unwrap();
        assert!(tee.flush().unwrap().is_some(), "the file's barrier");
        assert!(!tee.go_back(&Mark { messages: 2, position }).unwrap(), "the pipe cannot");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\ntwo\n", "the file can");
        std::fs::remove_file(path).unwrap();
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_child_reads_its_standard_input_and_is_waited_for() {
        let path = std::env::temp_dir().join(format!("sdpp-child-{}", std::process::id()));
        let command = ["cp".to_owned(), "/dev/stdin".to_owned(), path.display().to_string()];
        let mut sink = PipeSink::child(&command, LINES).unwrap();
        write(&mut sink, 0, b"to the child").unwrap();
        assert!(sink.finish().unwrap().unwrap().success());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "to the child\n");
        std::fs::remove_file(path).unwrap();
        let nothing = PipeSink::child(&["no-such-program-here".to_owned()], LINES);
        assert_eq!(nothing.err().unwrap().kind(), io::ErrorKind::NotFound);
        // One that leaves at once has enough.
        let mut sink = PipeSink::child(&["true".to_owned()], LINES).unwrap();
        let mut seq = 0;
        let enough = loop {
            write(&mut sink, seq, &[b'x'; 10_000]).unwrap();
            seq += 1;
            if let Some(ready) = sink.held(seq)
                && let Err(error) = ready.await
            {
                break error;
            }
        };
        assert_eq!(enough.kind(), io::ErrorKind::BrokenPipe);
        sink.finish().unwrap();
    }
}
