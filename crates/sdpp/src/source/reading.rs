//! How lines become messages: their form, what is left out, where a message's own time stands.

use std::io;

use sdpp_proto::limits;

use super::field::{self, NoField};
use super::{Pick, TimeForm, bad_data, csv};

/// Lines of one CSV record: a quote that is never closed must not take in the rest of a stream.
const RECORD_LINES_MAX: u64 = 1_000;

/// What lines look like.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Form {
    /// Any lines, each a message; empty ones are left out.
    #[default]
    Lines,
    /// Every line is JSON.
    Json,
    /// CSV with a header.
    Csv(Csv),
}

/// Details of CSV.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Csv {
    /// What stands between fields.
    pub delimiter: char,
    /// Records are sold as they are, without the header. Else each becomes a JSON object with the
    /// header's names as keys; a value that is a number of JSON stays one, anything else is a string.
    pub raw: bool,
}

impl Default for Csv {
    fn default() -> Self {
        Self { delimiter: ',', raw: false }
    }
}

/// What happens at a broken line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OnBad {
    /// The source ends with an error that names the line. What came before is sold.
    #[default]
    Stop,
    /// It is left out, with a warning.
    Skip,
}

/// Where a message's own time stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DataTime {
    /// The field of a JSON object (a dot goes into an object), or the column of a CSV file.
    pub field: String,
    /// How it is written.
    pub form: TimeForm,
    /// Whether the message carries this time to the buyer; else that of its sale.
    pub stamp: bool,
}

/// How lines become messages.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Reading {
    /// What lines look like.
    pub form: Form,
    /// What happens at a broken line.
    pub on_bad: OnBad,
    /// Which are taken. Lines have no topic, so only a field can be asked for.
    pub pick: Pick,
    /// Where a message's own time stands.
    pub time: Option<DataTime>,
}

/// What a line gave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fed {
    /// Nothing to sell: empty, a header, left out, or the record goes on in the next line.
    Nothing,
    /// A message.
    Message,
}

/// Turns lines into messages, one after the other.
pub(crate) struct Shaper {
    reading: Reading,
    /// Whose lines, for errors.
    label: String,
    /// Lines read so far.
    line: u64,
    /// The line with which the present record began.
    began: u64,
    header: Vec<String>,
    /// The beginning of a CSV record whose quotes are still open.
    open: Vec<u8>,
    message: Vec<u8>,
    time_us: Option<i64>,
    skipped: u64,
}

impl Shaper {
    /// # Errors
    /// The reading contradicts itself.
    pub(crate) fn new(reading: Reading, label: String) -> io::Result<Self> {
        if !reading.pick.is_of_fields() {
            let text = format!("{label}: lines have no topic: pick them by a field");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let (header, open, message) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Self { reading, label, line: 0, began: 0, header, open, message, time_us: None, skipped: 0 })
    }

    /// A new file begins, with a header of its own.
    pub(crate) fn restart(&mut self) {
        self.line = 0;
        self.header.clear();
        self.open.clear();
    }

    /// The message that was made last.
    pub(crate) fn message(&self) -> &[u8] {
        &self.message
    }

    /// Its own time, if one was asked for.
    pub(crate) const fn time_us(&self) -> Option<i64> {
        self.time_us
    }

    /// The time that it carries to the buyer.
    pub(crate) fn stamp(&self) -> i64 {
        let stamps = self.reading.time.as_ref().is_some_and(|time| time.stamp);
        self.time_us.filter(|_| stamps).unwrap_or_else(crate::now_us)
    }

    /// Whose lines these are.
    pub(crate) fn label(&self) -> &str {
        &self.label
    }

    /// Takes a line without its end.
    ///
    /// # Errors
    /// It is broken, and that was not to be passed over.
    pub(crate) fn feed(&mut self, line: &[u8]) -> io::Result<Fed> {
        self.line = self.line.saturating_add(1);
        if self.open.is_empty() {
            self.began = self.line;
        }
        let line = match line.strip_suffix(b"\r") {
            Some(line) if self.open.is_empty() => line,
            Some(_) | None => line,
        };
        let made = match self.reading.form {
            Form::Csv(csv) => self.feed_csv(line, csv),
            Form::Lines | Form::Json if line.is_empty() => return Ok(Fed::Nothing),
            Form::Lines | Form::Json => self.make_plain(line),
        };
        match made {
            Ok(fed) => Ok(fed),
            Err(what) => self.bad(&what),
        }
    }

    /// A line longer than any message was left out by whoever reads.
    ///
    /// # Errors
    /// As for a broken line.
    pub(crate) fn feed_too_long(&mut self) -> io::Result<Fed> {
        self.line = self.line.saturating_add(1);
        self.began = self.line;
        self.open.clear();
        self.bad(&format!("the line is longer than a message may be ({} bytes)", limits::MESSAGE_MAX))
    }

    /// Nothing follows.
    ///
    /// # Errors
    /// A record is not closed.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        if self.open.is_empty() {
            return Ok(());
        }
        self.open.clear();
        self.bad("a quote is never closed; the record goes on to the end").map(drop)
    }

    fn bad(&mut self, what: &str) -> io::Result<Fed> {
        let (label, line) = (&self.label, self.began);
        // Without a header no record can be read.
        let is_header = matches!(self.reading.form, Form::Csv(_)) && self.header.is_empty();
        if self.reading.on_bad == OnBad::Stop || is_header {
            let way = if is_header { "" } else { ", or have broken lines left out" };
            return Err(bad_data(format!("{label}, line {line}: {what}. Correct the line{way}")));
        }
        self.skipped = self.skipped.saturating_add(1);
        // Not one warning a line: a broken file would fill the log.
        if self.skipped.is_power_of_two() {
            let skipped = self.skipped;
            tracing::warn!(source = label, line, skipped, "a broken line is left out: {what}");
        }
        Ok(Fed::Nothing)
    }

    fn make_plain(&mut self, line: &[u8]) -> Result<Fed, String> {
        if self.reading.form == Form::Json && !field::is_json(line) {
            return Err("it is not JSON".to_owned());
        }
        if !self.reading.pick.takes(None, line) {
            return Ok(Fed::Nothing);
        }
        self.time_us = match &self.reading.time {
            None => None,
            Some(time) => Some(time_of(time, field::field(line, &time.field))?),
        };
        self.message.clear();
        self.message.extend_from_slice(line);
        Ok(Fed::Message)
    }

    fn feed_csv(&mut self, line: &[u8], csv: Csv) -> Result<Fed, String> {
        if self.open.is_empty() && line.is_empty() {
            return Ok(Fed::Nothing);
        }
        self.open.extend_from_slice(line);
        if !csv::is_whole(&self.open) {
            let lines = self.line.saturating_sub(self.began).saturating_add(1);
            let too_long = self.open.len() > usize::try_from(limits::MESSAGE_MAX).unwrap_or(usize::MAX);
            if too_long || lines >= RECORD_LINES_MAX {
                self.open.clear();
                return Err("a quote is not closed within the length of a message or 1,000 lines".to_owned());
            }
            self.open.push(b'\n');
            return Ok(Fed::Nothing);
        }
        let record = std::mem::take(&mut self.open);
        let text = std::str::from_utf8(&record).map_err(|_| "it is not UTF-8")?;
        let text = if self.header.is_empty() { text.strip_prefix('\u{feff}').unwrap_or(text) } else { text };
        let fields = csv::split(text, csv.delimiter)?;
        if self.header.is_empty() {
            self.header = self.checked_header(fields)?;
            return Ok(Fed::Nothing);
        }
        if fields.len() != self.header.len() {
            return Err(format!("it has {} fields, the header has {}", fields.len(), self.header.len()));
        }
        self.make_record(&record, &fields, csv)
    }

    /// Names of columns: each once, and those among them that were asked for.
    fn checked_header(&self, header: Vec<String>) -> Result<Vec<String>, String> {
        for (place, name) in header.iter().enumerate() {
            if name.is_empty() || header.iter().skip(place.saturating_add(1)).any(|other| other == name) {
                return Err(format!("the header needs a name for every column, each once; `{name}` is not"));
            }
        }
        let time = self.reading.time.as_ref().map(|time| time.field.as_str());
        let wanted = time.into_iter().chain(self.reading.pick.wanted().map(|(name, _)| name));
        for name in wanted {
            if !header.iter().any(|column| column == name) {
                return Err(format!("the header has no column `{name}`; it has {}", header.join(", ")));
            }
        }
        Ok(header)
    }

    fn make_record(&mut self, record: &[u8], fields: &[String], csv: Csv) -> Result<Fed, String> {
        let column = |name: &str| {
            let found = self.header.iter().zip(fields).find(|(column, _)| *column == name);
            found.map(|(_, field)| field.clone()).ok_or(NoField::Missing)
        };
        if let Some((name, value)) = self.reading.pick.wanted()
            && column(name).as_deref() != Ok(value)
        {
            return Ok(Fed::Nothing);
        }
        self.time_us = match &self.reading.time {
            None => None,
            Some(time) => Some(time_of(time, column(&time.field))?),
        };
        self.message.clear();
        if csv.raw {
            self.message.extend_from_slice(record);
        } else {
            write_object(&self.header, fields, &mut self.message).map_err(|error| error.to_string())?;
        }
        if self.message.len() > usize::try_from(limits::MESSAGE_MAX).unwrap_or(usize::MAX) {
            return Err(format!("as JSON it is longer than a message may be ({} bytes)", limits::MESSAGE_MAX));
        }
        Ok(Fed::Message)
    }
}

fn time_of(time: &DataTime, found: Result<String, NoField>) -> Result<i64, String> {
    let name = &time.field;
    let text = found.map_err(|error| match error {
        NoField::NotJson => "it is not JSON, so its time cannot be read".to_owned(),
        NoField::Missing => format!("it has no field `{name}` with a time"),
    })?;
    time.form.parse(&text).ok_or_else(|| format!("`{text}` in the field `{name}` is not a time as it was described"))
}

fn write_object(names: &[String], fields: &[String], out: &mut Vec<u8>) -> serde_json::Result<()> {
    let mut before = b'{';
    for (name, value) in names.iter().zip(fields) {
        out.push(before);
        before = b',';
        serde_json::to_writer(&mut *out, name)?;
        out.push(b':');
        if field::is_number(value) {
            // As it is written: 1.50 says more than 1.5.
            out.extend_from_slice(value.as_bytes());
        } else {
            serde_json::to_writer(&mut *out, value)?;
        }
    }
    out.push(b'}');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shaper(reading: Reading) -> Shaper {
        Shaper::new(reading, "data".to_owned()).unwrap()
    }

    /// Messages of these lines, and the error at the end of them, if any.
    fn all(shaper: &mut Shaper, lines: &[&str]) -> (Vec<String>, Option<String>) {
        let mut messages = Vec::new();
        for line in lines {
            match shaper.feed(line.as_bytes()) {
                Ok(Fed::Message) => messages.push(String::from_utf8(shaper.message().to_vec()).unwrap()),
                Ok(Fed::Nothing) => {}
                Err(error) => return (messages, Some(error.to_string())),
            }
        }
        let end = shaper.finish().err().map(|error| error.to_string());
        (messages, end)
    }

    fn csv() -> Reading {
        Reading { form: Form::Csv(Csv::default()), ..Reading::default() }
    }

    #[test]
    fn csv_becomes_json_with_numbers_as_they_are_written() {
        let lines = ["\u{feff}id,name,\"v,1\"", "1,ann,1.50", "", "007,\"say \"\"hi\"\"", "\",", "2,,-0"];
        let (messages, end) = all(&mut shaper(csv()), &lines[..3]);
        assert_eq!(messages, [r#"{"id":1,"name":"ann","v,1":1.50}"#]);
        assert_eq!(end, None);
        let lines = ["id,name,v", "007,\"two", "lines \"\"of\"\" it\",", "2,,-0\r"];
        let (messages, end) = all(&mut shaper(csv()), &lines);
        assert_eq!(messages, [r#"{"id":"007","name":"two\nlines \"of\" it","v":""}"#, r#"{"id":2,"name":"","v":-0}"#]);
        assert_eq!(end, None);
        let raw = Csv { delimiter: ';', raw: true };
        let mut raw = shaper(Reading { form: Form::Csv(raw), ..Reading::default() });
        assert_eq!(all(&mut raw, &["a;b", "1,5;\"x\""]).0, ["1,5;\"x\""]);
    }

    #[test]
    fn a_broken_record_names_its_line_and_what_is_wrong() {
        let cases = [
            (&["a,b", "1,2", "1,2,3"][..], "data, line 3: it has 3 fields, the header has 2"),
            (&["a,b", "1,2", "", "x\"y\",2"], "data, line 4: a quote stands inside"),
            (&["a,b", "1,2", "\"1\"x,2"], "data, line 3: something stands between"),
            (&["a,b", "1,2", "\"1,2", "3,4"], "data, line 3: a quote is never closed"),
        ];
        for (lines, wanted) in cases {
            let (messages, error) = all(&mut shaper(csv()), lines);
            assert_eq!(messages, [r#"{"a":1,"b":2}"#], "what came before is sold");
            let error = error.unwrap();
            assert!(error.starts_with(wanted), "{error}");
        }
        for header in ["a,a", "a,", "x\"y"] {
            let mut skipping = shaper(Reading { on_bad: OnBad::Skip, ..csv() });
            let error = all(&mut skipping, &[header, "1,2"]).1.unwrap();
            assert!(error.starts_with("data, line 1: "), "a bad header is never passed over: {error}");
        }
    }

    #[test]
    fn broken_lines_are_left_out_when_asked() {
        let mut csv = shaper(Reading { on_bad: OnBad::Skip, ..csv() });
        let (messages, end) = all(&mut csv, &["a,b", "1", "1,2", "1,2,3", "3,4", "\"5,6"]);
        assert_eq!((messages.len(), end, csv.skipped), (2, None, 3));
        let mut json = shaper(Reading { form: Form::Json, on_bad: OnBad::Skip, ..Reading::default() });
        let (messages, end) = all(&mut json, &["{}", "{", "nonsense", "[1]"]);
        assert_eq!((messages, end, json.skipped), (vec!["{}".to_owned(), "[1]".to_owned()], None, 2));
        let mut json = shaper(Reading { form: Form::Json, ..Reading::default() });
        let error = all(&mut json, &["{}", "{"]).1.unwrap();
        assert!(error.starts_with("data, line 2: it is not JSON"), "{error}");
        // Not every stream is JSON.
        assert_eq!(all(&mut shaper(Reading::default()), &["{", "x"]).0, ["{", "x"]);
    }

    #[test]
    fn a_quote_that_is_never_closed_takes_in_no_stream() {
        let mut endless = shaper(Reading { on_bad: OnBad::Skip, ..csv() });
        let lines = ["a", "\"x"].into_iter().chain(std::iter::repeat_n("1", 1_100));
        let (messages, end) = all(&mut endless, &lines.collect::<Vec<_>>());
        assert_eq!((messages.len(), end, endless.skipped), (101, None, 1));
    }

    #[test]
    fn a_message_carries_its_own_time_when_asked() {
        let time = |stamp| Some(DataTime { field: "t".to_owned(), form: TimeForm::Seconds, stamp });
        let mut stamped = shaper(Reading { time: time(true), ..Reading::default() });
        assert_eq!(stamped.feed(br#"{"t":"1.5"}"#).unwrap(), Fed::Message);
        assert_eq!((stamped.time_us(), stamped.stamp()), (Some(1_500_000), 1_500_000));
        let mut csv = shaper(Reading { time: time(false), ..csv() });
        csv.feed(b"v,t").unwrap();
        assert_eq!(csv.feed(b"x,2").unwrap(), Fed::Message);
        assert_eq!(csv.time_us(), Some(2_000_000));
        assert!(csv.stamp() > 2_000_000, "the time of the sale");
        for bad in ["{}", "x", r#"{"t":"soon"}"#] {
            let error = shaper(Reading { time: time(true), ..Reading::default() }).feed(bad.as_bytes()).unwrap_err();
            assert!(error.to_string().starts_with("data, line 1: "), "{error}");
        }
        let mut csv = shaper(Reading { time: time(true), form: Form::Csv(Csv::default()), ..Reading::default() });
        let error = csv.feed(b"a,b").unwrap_err().to_string();
        assert!(error.contains("no column `t`; it has a, b"), "{error}");
    }

    #[test]
    fn a_field_picks_lines_of_json_and_of_csv() {
        let pick = Pick::all().field("net", "uw");
        let mut json = shaper(Reading { pick: pick.clone(), ..Reading::default() });
        assert_eq!(all(&mut json, &[r#"{"net":"uw"}"#, r#"{"net":"us"}"#, "x"]).0.len(), 1);
        let mut csv =
            shaper(Reading { pick, form: Form::Csv(Csv { raw: true, ..Csv::default() }), ..Reading::default() });
        assert_eq!(all(&mut csv, &["net,v", "uw,1", "us,2", "uw,3"]).0, ["uw,1", "uw,3"]);
        let topics = Reading { pick: Pick::all().topics(["#"]).unwrap(), ..Reading::default() };
        assert!(Shaper::new(topics, "data".to_owned()).is_err(), "lines have no topic");
    }
}
