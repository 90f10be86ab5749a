//! Where messages go, by what the command line says; and again by what the journal says of it, so that
//! an order goes on into what it went to before.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use sdpp::sink::{Csv, Encoding, FileSink, Form, PipeSink, Sink, Tee};

use crate::exit::{Exit, failed};
use crate::home::{Home, Role};
use crate::ledger::Failure;

/// What stands before the path of kept messages in the description of a sink.
const KEPT: &str = " + canonical:";
/// How commands of the command line are run.
const SHELL: &str = "sh -c ";

/// Where messages go, and the program that takes them, if there is one.
pub(crate) struct Place {
    pub(crate) sink: Box<dyn Sink>,
    child: Option<Child>,
}

impl Place {
    fn of(sink: impl Sink + 'static) -> Self {
        Self { sink: Box::new(sink), child: None }
    }

    /// Starts a program that reads messages.
    fn program(command: &str, form: Form) -> std::io::Result<Self> {
        let mut shell = Command::new("sh");
        shell.args(["-c", command]).stdin(Stdio::piped());
        // A Ctrl-C is for the purchase: what it still brings goes to the program, which ends with its input.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut shell, 0);
        let mut child = shell.spawn()?;
        let input = child.stdin.take().ok_or(std::io::ErrorKind::BrokenPipe)?;
        let sink = PipeSink::new(format!("exec:{SHELL}{command}"), Box::new(input), form)?;
        Ok(Self { sink: Box::new(sink), child: Some(child) })
    }

    /// The same, and the exact messages beside it for the auditor.
    pub(crate) fn keeping(self, kept: &Path) -> Result<Self, Failure> {
        let file = FileSink::canonical(kept);
        let file = file.map_err(|error| failed(Exit::Data, format!("{}: {error}", kept.display())))?;
        Ok(Self { sink: Box::new(Tee::new(self.sink, file)), ..self })
    }

    /// Nothing more comes: waits for the program, if there is one.
    pub(crate) async fn finish(self) -> Result<(), Failure> {
        // Its input ends here.
        drop(self.sink);
        let Some(mut child) = self.child else { return Ok(()) };
        // It may take its time, and signals are heard meanwhile.
        let status = tokio::task::spawn_blocking(move || child.wait()).await??;
        if status.success() {
            return Ok(());
        }
        Err(failed(Exit::Data, format!("the program of --to ended with {status}: see what it did with the messages")))
    }
}

/// A sink for the words of the command line.
pub(crate) async fn open(to: &str, home: &Home) -> Result<Place, Failure> {
    let form = match Path::new(to).extension().and_then(|end| end.to_str()) {
        Some("csv") if !to.contains(':') => Form::Csv(Csv::default()),
        Some("b64") if !to.contains(':') => Form::Lines(Encoding::Base64),
        _ => Form::Lines(Encoding::Raw),
    };
    open_as(to, form, home).await
}

/// The sink that was described so, with the exact messages beside it if they were kept.
async fn again(described: &str, home: &Home) -> Result<Place, Failure> {
    match described.split_once(KEPT) {
        Some((first, kept)) => alone(first, home).await?.keeping(Path::new(kept)),
        None => alone(described, home).await,
    }
}

/// Where the messages of an order of the journal go: where it is said, else where they went before.
pub(crate) async fn of_order(to: Option<&str>, described: Option<&str>, home: &Home) -> Result<Place, Failure> {
    match (to, described) {
        (Some(to), _) => open(to, home).await,
        (None, Some(described)) => again(described, home).await,
        (None, None) => open("-", home).await,
    }
}

async fn alone(described: &str, home: &Home) -> Result<Place, Failure> {
    let (form, place) = described.split_once(':').unwrap_or(("", described));
    let form = match form {
        "lines" => Form::Lines(Encoding::Raw),
        "base64-lines" => Form::Lines(Encoding::Base64),
        "csv" => Form::Csv(Csv::default()),
        "mqtt" | "mqtts" => return open(described, home).await,
        _ => {
            let what =
                format!("'{described}' is no sink that this program makes again: say where messages go with --to");
            return Err(failed(Exit::Usage, what));
        }
    };
    let shelled = format!("exec:{SHELL}");
    match place.strip_prefix(&shelled) {
        Some(command) => open_as(&format!("exec:{command}"), form, home).await,
        None if place == "stdout" => open_as("-", form, home).await,
        None => open_as(place, form, home).await,
    }
}

async fn open_as(to: &str, form: Form, home: &Home) -> Result<Place, Failure> {
    let wrong = |error: std::io::Error| failed(Exit::Data, format!("{to}: {error}"));
    if to == "-" {
        return Ok(Place::of(PipeSink::stdout(form).map_err(wrong)?));
    }
    if let Some(command) = to.strip_prefix("exec:") {
        return Place::program(command, form).map_err(wrong);
    }
    if to.starts_with("mqtt://") || to.starts_with("mqtts://") {
        return broker(to, home).await;
    }
    // The journal names it, and a later command may be run elsewhere.
    let path = std::path::absolute(to).map_err(wrong)?;
    Ok(Place::of(FileSink::open(&path, form).map_err(wrong)?))
}

#[cfg(feature = "mqtt")]
async fn broker(url: &str, home: &Home) -> Result<Place, Failure> {
    let config = home.config()?;
    Ok(Place::of(crate::broker::MqttSink::connect(url, config.buyer.qos, &config.mqtt).await?))
}

#[cfg(not(feature = "mqtt"))]
async fn broker(_: &str, _: &Home) -> Result<Place, Failure> {
    Err(failed(Exit::Usage, "this program was built without MQTT: build it with the feature `mqtt`"))
}

/// A new place for the exact messages of an order.
pub(crate) fn new_kept(home: &Home) -> Result<PathBuf, Failure> {
    let folder = home.role(Role::Buyer)?.file("messages");
    std::fs::create_dir_all(&folder)
        .map_err(|error| failed(Exit::Storage, format!("{}: {error}", folder.display())))?;
    let drawn = sdpp::entropy::draw()?;
    let name: String = crate::text::hex(&*drawn).chars().take(16).collect();
    Ok(folder.join(format!("{name}.messages")))
}

/// The file that a description speaks of, if it is one.
pub(crate) fn file_of(described: &str) -> Option<&str> {
    let first = described.split_once(KEPT).map_or(described, |(first, _)| first);
    let (_, place) = first.split_once(':')?;
    Path::new(place).is_absolute().then_some(place)
}

/// Where the exact messages are that a description speaks of.
pub(crate) fn kept(described: &str) -> Option<PathBuf> {
    described.split_once(KEPT).map(|(_, path)| PathBuf::from(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_described_is_made_again() {
        let folder = std::env::temp_dir().join(format!("sdpp-sinks-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let home = Home::find(Some(&folder)).unwrap();
        let file = folder.join("out.csv").display().to_string();
        for to in ["-", "exec:cat > /dev/null", &file] {
            let described = open(to, &home).await.unwrap().sink.describe().unwrap();
            assert_eq!(again(&described, &home).await.unwrap().sink.describe().unwrap(), described);
            let beside = folder.join("kept");
            let both = open(to, &home).await.unwrap().keeping(&beside).unwrap().sink.describe().unwrap();
            assert_eq!(again(&both, &home).await.unwrap().sink.describe().unwrap(), both);
            assert_eq!(kept(&both), Some(beside));
        }
        assert!(again("somewhere", &home).await.is_err());
        std::fs::remove_dir_all(folder).unwrap();
    }
}
