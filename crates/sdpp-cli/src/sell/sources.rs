//! Sources of the configuration as the library reads them: a file is opened for each order, what is
//! live is read once for all.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::FutureExt as _;
use sdpp::feed::{Begin, Child, Follow, Hub, Input, Overflow, Start, Take};
use sdpp::seller::MakeSource;
use sdpp::source::{Csv, DataTime, Form, LineOptions, Lines, OnBad, Pace, Pick, Reading, Source as _, TimeForm};
use sdpp_proto::limits::SAMPLE_BYTES_MAX;
use sdpp_proto::message::{Batch, split_first};
use sdpp_proto::statement::{Product, Signing, Stalled};

use crate::config::{self, Format};
use crate::exit::{Exit, exit_of, failed};
use crate::ledger::Failure;

/// Live sources that are being read, each by its description: a reload goes on with those it keeps.
pub(super) struct Sources {
    hubs: HashMap<String, (config::Source, Hub)>,
    mqtt: config::Mqtt,
}

impl Sources {
    /// None yet; brokers will be spoken to like this.
    pub(super) fn new(mqtt: config::Mqtt) -> Self {
        Self { hubs: HashMap::new(), mqtt }
    }

    /// What makes the source of an order of a product. Inside a runtime.
    pub(super) fn maker(
        &mut self,
        (name, source): (&str, &config::Source),
        asked: &config::Product,
        product: &Product,
    ) -> Result<MakeSource, Failure> {
        let wrong = |what: String| failed(Exit::Usage, format!("product '{}': {what}", asked.topic));
        let pick = pick(asked).map_err(wrong)?;
        if let Some(path) = &source.file {
            readable(path)?;
            return Ok(from_file(path.clone(), options(source, pick)));
        }
        let hub = self.hub(name, source)?;
        let take = Take {
            pick,
            with_topic: product.schema == sdpp::topic::SCHEMA,
            message_max: product.message_max,
            overflow: overflow(source, product),
            ..Take::default()
        };
        Ok(Arc::new(move |_| Ok(Box::new(hub.subscribe(take.clone())))))
    }

    /// Forgets live sources that no product has any more; orders that run keep theirs.
    pub(super) fn keep(&mut self, config: &config::Config) {
        self.hubs.retain(|name, (source, _)| config.sources.get(name) == Some(source));
    }

    fn hub(&mut self, name: &str, source: &config::Source) -> Result<Hub, Failure> {
        if let Some((known, hub)) = self.hubs.get(name)
            && known == source
        {
            return Ok(hub.clone());
        }
        let hub = open(source, &self.mqtt).map_err(|error| {
            let exit = exit_of(error.as_ref()).unwrap_or(Exit::Data);
            failed(exit, format!("[sources.{name}]: {error}"))
        })?;
        self.hubs.insert(name.to_owned(), (source.clone(), hub.clone()));
        Ok(hub)
    }
}

fn open(source: &config::Source, mqtt: &config::Mqtt) -> Result<Hub, Failure> {
    let reading = reading(source, Pick::all());
    if let Some(path) = &source.follow {
        return Ok(Hub::start(Follow::open(path, Begin::AtEnd, reading)?, Start::Now));
    }
    if let Some([program, arguments @ ..]) = source.command.as_deref() {
        return Ok(Hub::start(Child::spawn(program, arguments, reading)?, Start::FirstOrder));
    }
    if source.stdin {
        return Ok(Hub::start(Input::stdin(reading)?, Start::FirstOrder));
    }
    broker(source, mqtt)
}

/// Connects before anything is sold, so that a broker that refuses is noticed.
#[cfg(feature = "mqtt")]
fn broker(source: &config::Source, mqtt: &config::Mqtt) -> Result<Hub, Failure> {
    let url = source.mqtt.as_deref().unwrap_or_default();
    let connecting = crate::broker::subscribe(url, source, mqtt);
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(connecting))
}

#[cfg(not(feature = "mqtt"))]
fn broker(_: &config::Source, _: &config::Mqtt) -> Result<Hub, Failure> {
    Err("this program was built without MQTT: build it with the feature `mqtt`".into())
}

/// A pipe can wait, as pipes do; what is live for everybody cannot.
fn overflow(source: &config::Source, product: &Product) -> Overflow {
    match product.when_stalled {
        Stalled::Skip => Overflow::DropOldest,
        Stalled::Buffer if source.stdin || source.command.is_some() => Overflow::Wait,
        Stalled::Buffer => Overflow::End,
    }
}

fn pick(asked: &config::Product) -> Result<Pick, String> {
    let mut pick = Pick::all();
    if let Some(filter) = &asked.select {
        pick = pick.topics([filter.clone()]).map_err(|error| error.to_string())?;
    }
    if let Some(field) = &asked.field {
        let (name, value) = field.split_once('=').ok_or_else(|| format!("where = '{field}': write FIELD=VALUE"))?;
        pick = pick.field(name, value);
    }
    Ok(pick)
}

fn reading(source: &config::Source, pick: Pick) -> Reading {
    let named = source.file.as_ref().or(source.follow.as_ref());
    let is_csv = named.and_then(|path| path.extension()).is_some_and(|end| end.eq_ignore_ascii_case("csv"));
    let form = match source.format {
        Some(Format::Csv) => Form::Csv(Csv::default()),
        Some(Format::Json) => Form::Json,
        Some(Format::Lines) => Form::Lines,
        None if is_csv => Form::Csv(Csv::default()),
        None => Form::Lines,
    };
    let time = source.time.clone().map(|field| DataTime { field, form: TimeForm::Auto, stamp: true });
    let on_bad = if source.skip_broken { OnBad::Skip } else { OnBad::Stop };
    Reading { form, on_bad, pick, time }
}

fn options(source: &config::Source, pick: Pick) -> LineOptions {
    let pace = match (source.rate.filter(|rate| *rate > 0.0), &source.time) {
        (Some(rate), _) => Pace::Rate(rate),
        (None, Some(_)) => Pace::Data { speed: source.speed.unwrap_or(1.0) },
        (None, None) => Pace::Free,
    };
    LineOptions { reading: reading(source, pick), pace, repeat: source.looped, count: None }
}

fn from_file(path: PathBuf, options: LineOptions) -> MakeSource {
    Arc::new(move |_| Ok(Box::new(Lines::with(&path, options.clone())?)))
}

/// A file that is not there is noticed now, and not by the first buyer.
fn readable(path: &Path) -> Result<(), Failure> {
    match std::fs::File::open(path).and_then(|file| file.metadata()) {
        Ok(meta) if meta.is_file() => Ok(()),
        Ok(_) => Err(failed(Exit::Data, format!("{} is no file", path.display()))),
        Err(error) => Err(failed(Exit::Data, format!("{}: {error}; see --from", path.display()))),
    }
}

/// The first messages of a file, in canonical form: a free sample. Nothing where there is none to have.
pub(super) fn sample(source: &config::Source, asked: &config::Product, messages: u32) -> Result<Vec<u8>, Failure> {
    let Some(path) = source.file.as_ref().filter(|_| messages > 0) else { return Ok(Vec::new()) };
    let pick = pick(asked).map_err(|what| failed(Exit::Usage, what))?;
    let first =
        LineOptions { pace: Pace::Free, repeat: false, count: Some(u64::from(messages)), ..options(source, pick) };
    let mut lines = Lines::with(path, first)?;
    let mut batch = Batch::new();
    // A file without a pace never waits.
    lines.fill(&mut batch).now_or_never().transpose()?;
    let mut rest = batch.canonical();
    while let Some((_, after)) = split_first(rest, Signing::Window) {
        let so_far = batch.canonical().len().saturating_sub(after.len());
        if so_far > SAMPLE_BYTES_MAX {
            break;
        }
        rest = after;
    }
    let length = batch.canonical().len().saturating_sub(rest.len());
    Ok(batch.canonical().get(..length).unwrap_or_default().to_vec())
}
