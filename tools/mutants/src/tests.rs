//! The tests of the copy: which there are, what they reach, and running one of them.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::lines;

/// What `cargo test --no-run --message-format=json` wrote.
const BUILT: &str = "built.jsonl";
/// A line for each test that passes without a mutant.
const TRACES: &str = "traces.jsonl";
const LONGEST: Duration = Duration::from_secs(300);
/// Mutants may ask for memory and time without end: KiB, and seconds of the processor, for the machine may be busy.
const LIMITED: &str = "ulimit -v 8000000; ulimit -t $0; exec \"$@\"";
/// Those who wait for something that never comes need no processor.
const PATIENCE: u32 = 4;
const SIGKILL: i32 = 9;
const SIGXCPU: i32 = 24;
/// How many tests run at once.
pub const WORKERS: usize = 2;

/// A test in its program.
#[derive(Clone)]
pub struct Test {
    pub package: String,
    pub label: String,
    program: String,
    arguments: Vec<String>,
    directory: String,
    /// When its program was built.
    built: u64,
    pub time: Duration,
    pub reached: BTreeSet<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum End {
    Passed,
    Failed,
    TimedOut,
}

impl Test {
    fn start(&self, key: &str, value: &str, limit: Duration) -> Child {
        let mut command = Command::new("sh");
        command.args(["-c", LIMITED, &limit.as_secs().to_string(), &self.program]).args(&self.arguments);
        command.current_dir(&self.directory);
        command.env("CARGO_MANIFEST_DIR", &self.directory).env(key, value).process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().expect("a test starts")
    }

    fn run(&self, key: &str, value: &str, limit: Duration) -> End {
        let (mut child, started) = (self.start(key, value, limit), Instant::now());
        let end = loop {
            match child.try_wait().expect("a test can be waited for") {
                Some(status) if status.success() => break End::Passed,
                Some(status) if [Some(SIGKILL), Some(SIGXCPU)].contains(&status.signal()) => break End::TimedOut,
                Some(_) => break End::Failed,
                None if started.elapsed() > limit * PATIENCE => break End::TimedOut,
                None => std::thread::sleep((started.elapsed() / 20).clamp(Duration::from_millis(1), LONGEST / 1000)),
            }
        };
        // Programs that the test started belong to its group.
        let group = format!("-{}", child.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
        let _ = child.wait();
        end
    }

    /// Runs it with a mutant on.
    pub fn with(&self, mutant: usize) -> End {
        self.run("SDPP_MUTANT", &mutant.to_string(), Duration::from_secs(20).max(self.time * 10))
    }
}

/// Everything that `cargo test` would run, but for documentation tests; the simulator is one, too.
fn all() -> Vec<Test> {
    let mut tests = Vec::new();
    for line in lines(BUILT).iter().filter(|line| line["executable"].is_string()) {
        let text = |value: &Value| value.as_str().expect("a string").to_owned();
        let (program, target) = (text(&line["executable"]), text(&line["target"]["name"]));
        let manifest = text(&line["manifest_path"]);
        let directory = Path::new(&manifest).parent().expect("a manifest is in a directory");
        let package = directory.file_name().expect("a name").to_string_lossy().into_owned();
        let built = fs::metadata(&program).and_then(|data| data.modified()).expect("it was built");
        let built = built.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let test = |name: &str, arguments: Vec<String>| Test {
            package: package.clone(),
            label: format!("{package} {target} {name}"),
            program: program.clone(),
            arguments,
            directory: directory.to_string_lossy().into_owned(),
            built,
            time: Duration::ZERO,
            reached: BTreeSet::new(),
        };
        if line["profile"]["test"] == true {
            let ignored = listed(&program, &["--ignored"]);
            let names = listed(&program, &[]).into_iter().filter(|name| !ignored.contains(name));
            tests.extend(names.map(|name| test(&name, vec!["--exact".into(), name.clone()])));
        } else if target == "sdpp-sim" {
            tests.push(test("worlds", ["--seeds", "100"].map(String::from).into()));
        }
    }
    tests
}

fn listed(program: &str, more: &[&str]) -> Vec<String> {
    let output = Command::new(program).args(["--list", "--format", "terse"]).args(more).output();
    let text = output.expect("a test program lists its tests").stdout;
    let text = String::from_utf8_lossy(&text);
    text.lines().filter_map(|line| line.strip_suffix(": test")).map(String::from).collect()
}

/// Does a job for each of many things, [`WORKERS`] at a time, in their order.
pub fn each<T: Sync>(things: &[T], job: impl Fn(&T) + Sync) {
    let next = Mutex::new(things.iter());
    let work = || {
        while let Some(thing) = {
            let mut next = next.lock().expect("no worker fails");
            next.next()
        } {
            job(thing)
        }
    };
    std::thread::scope(|scope| (0..WORKERS).for_each(|_| drop(scope.spawn(work))));
}

pub fn append(path: &str, line: &Value) {
    let file = OpenOptions::new().append(true).create(true).open(path);
    file.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes())).expect("a line can be written");
}

/// What is known of tests, by label.
fn traces() -> HashMap<String, Value> {
    lines(TRACES).into_iter().map(|line| (line["label"].as_str().expect("a label").to_owned(), line)).collect()
}

/// Runs every test that was not run since it was built once.
pub fn trace() {
    let (known, mut tests) = (traces(), all());
    tests.retain(|test| known.get(&test.label).is_none_or(|line| line["built"] != test.built));
    println!("{} tests to run", tests.len());
    each(&tests, |test| {
        let path =
            std::env::current_dir().expect("a directory").join(format!("trace-{:?}", std::thread::current().id()));
        let started = Instant::now();
        let end = test.run("SDPP_MUTANT_TRACE", &path.to_string_lossy(), LONGEST);
        let took = started.elapsed().as_secs_f64();
        let reached: BTreeSet<usize> =
            fs::read_to_string(&path).unwrap_or_default().lines().filter_map(|line| line.parse().ok()).collect();
        let _ = fs::remove_file(path);
        if end != End::Passed {
            println!("without a mutant, this does not pass: {}", test.label);
        }
        append(
            TRACES,
            &json!({"label": test.label, "built": test.built, "passed": end == End::Passed, "seconds": took, "reached": reached}),
        );
    });
}

/// The tests that pass without a mutant, with what they reach, the quickest first.
pub fn traced() -> Vec<Test> {
    let (known, mut tests) = (traces(), all());
    tests.retain_mut(|test| {
        let Some(line) = known.get(&test.label).filter(|line| line["passed"] == true) else { return false };
        test.time = Duration::from_secs_f64(line["seconds"].as_f64().expect("a time"));
        let reached = line["reached"].as_array().into_iter().flatten();
        test.reached = reached.filter_map(Value::as_u64).map(|number| number as usize).collect();
        true
    });
    tests.sort_by_key(|test| test.time);
    tests
}
