//! Messages that keep their topic: how MQTT travels through a sale (`docs/sources.md`).
//!
//! A product whose schema is [`SCHEMA`] has messages of this form: the topic's length in bytes as a
//! big-endian `u16`, the topic in UTF-8, and the payload up to the message's end. The topic is a
//! valid topic name, so a buyer may publish it again without its broker taking offence.

use std::fmt;

use sdpp_proto::limits;

/// The schema of products whose messages have this form.
pub const SCHEMA: &str = "mqtt";
/// Longest topic in bytes: MQTT states its length in 16 bits.
pub const TOPIC_MAX: usize = 65_535;
/// Most levels of a topic. Brokers close the connection above some number, mosquitto above 200: the
/// rest is left for a prefix.
pub const LEVELS_MAX: usize = 128;

/// Bytes of the length before the topic.
const PREFIX_LEN: usize = 2;

/// Why bytes are no message with a topic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TopicError {
    /// Shorter than the topic that it states.
    Cut,
    /// The topic is empty.
    Empty,
    /// The topic is longer than [`TOPIC_MAX`] or has more than [`LEVELS_MAX`] levels.
    TooLong,
    /// The topic is not UTF-8, or has a character that no topic may have: a wildcard, a control
    /// character, one that Unicode keeps for itself.
    BadTopic,
    /// Topic and payload together are longer than any message may be.
    TooLarge,
}

impl fmt::Display for TopicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cut => "the message is shorter than the topic that it states: it is not of the schema mqtt",
            Self::Empty => "the topic is empty",
            Self::TooLong => "the topic is longer or deeper than a topic may be",
            Self::BadTopic => "the topic has a wildcard or a character that no topic may have",
            Self::TooLarge => "topic and payload together are longer than a message may be",
        })
    }
}

impl std::error::Error for TopicError {}

/// Takes a message apart into topic and payload.
///
/// # Errors
/// [`TopicError`].
pub fn split(message: &[u8]) -> Result<(&str, &[u8]), TopicError> {
    let (length, rest) = message.split_first_chunk::<PREFIX_LEN>().ok_or(TopicError::Cut)?;
    let (topic, payload) = rest.split_at_checked(u16::from_be_bytes(*length).into()).ok_or(TopicError::Cut)?;
    let topic = std::str::from_utf8(topic).map_err(|_| TopicError::BadTopic)?;
    check(topic)?;
    Ok((topic, payload))
}

/// Makes a message of topic and payload, in a buffer that is emptied first.
///
/// # Errors
/// [`TopicError`]; the buffer is empty then.
pub fn join(topic: &str, payload: &[u8], message: &mut Vec<u8>) -> Result<(), TopicError> {
    message.clear();
    check(topic)?;
    let length = joined_len(topic, payload)?;
    message.reserve(length);
    // Checked to be at most TOPIC_MAX.
    message.extend_from_slice(&u16::try_from(topic.len()).unwrap_or(u16::MAX).to_be_bytes());
    message.extend_from_slice(topic.as_bytes());
    message.extend_from_slice(payload);
    Ok(())
}

/// Bytes of the message that topic and payload make.
fn joined_len(topic: &str, payload: &[u8]) -> Result<usize, TopicError> {
    let length = topic.len().saturating_add(payload.len()).saturating_add(PREFIX_LEN);
    let fits = u32::try_from(length).is_ok_and(|length| length <= limits::MESSAGE_MAX);
    if fits { Ok(length) } else { Err(TopicError::TooLarge) }
}

/// Whether this is a topic that every broker takes.
///
/// # Errors
/// [`TopicError`].
pub fn check(topic: &str) -> Result<(), TopicError> {
    if topic.is_empty() {
        return Err(TopicError::Empty);
    }
    if topic.len() > TOPIC_MAX || topic.split('/').count() > LEVELS_MAX {
        return Err(TopicError::TooLong);
    }
    let bad = |c: char| matches!(c, '+' | '#') || c.is_control() || is_noncharacter(c);
    if topic.contains(bad) { Err(TopicError::BadTopic) } else { Ok(()) }
}

/// Whether this is a filter of topics: `+` stands for one level, `#` at the end for all that follow.
pub fn is_filter(filter: &str) -> bool {
    let levels: Vec<&str> = filter.split('/').collect();
    let last = levels.len().saturating_sub(1);
    let whole = |(place, level): (usize, &&str)| match *level {
        "+" => true,
        "#" => place == last,
        other => !other.contains(['+', '#']),
    };
    let bad = |c: char| c.is_control() || is_noncharacter(c);
    !filter.is_empty()
        && filter.len() <= TOPIC_MAX
        && levels.len() <= LEVELS_MAX
        && !filter.contains(bad)
        && levels.iter().enumerate().all(whole)
}

/// Whether a topic is one of those that a filter stands for. As in MQTT, a wildcard at the beginning
/// does not stand for topics that begin with `$`.
pub fn matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let (mut wanted, mut levels) = (filter.split('/'), topic.split('/'));
    loop {
        match (wanted.next(), levels.next()) {
            // `a/#` stands for `a` too.
            (Some("#"), _) | (None, None) => return true,
            (Some("+"), Some(_)) => {}
            (Some(one), Some(other)) if one == other => {}
            (Some(_) | None, Some(_)) | (Some(_), None) => return false,
        }
    }
}

/// Code points that Unicode keeps for itself; brokers refuse them.
fn is_noncharacter(c: char) -> bool {
    let code = u32::from(c);
    (0xfdd0..=0xfdef).contains(&code) || code & 0xfffe == 0xfffe
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation, reason = "a test that panics has failed")]
mod tests {
    use super::*;

    fn joined(topic: &str, payload: &[u8]) -> Result<Vec<u8>, TopicError> {
        let mut message = vec![1, 2, 3];
        let result = join(topic, payload, &mut message);
        if result.is_err() {
            assert!(message.is_empty(), "nothing of the message before");
        }
        result.map(|()| message)
    }

    #[test]
    fn the_form_is_length_topic_payload() {
        let message = joined("a/ü", b"\x00hi").unwrap();
        assert_eq!(message, b"\x00\x04a/\xc3\xbc\x00hi");
        assert_eq!(split(&message), Ok(("a/ü", &b"\x00hi"[..])));
    }

    #[test]
    fn what_was_joined_is_split_again() {
        // A small generator of numbers: the same on every run.
        let mut state = 1u64;
        let mut draw = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let letters = ['a', 'Z', '/', '$', 'ü', '温', '🌦', ' '];
        for _ in 0..2_000 {
            let topic: String = (0..1 + draw(40)).map(|_| letters[draw(8) as usize]).collect();
            let payload: Vec<u8> = (0..draw(300)).map(|_| draw(256) as u8).collect();
            let message = joined(&topic, &payload).unwrap();
            assert_eq!(split(&message), Ok((topic.as_str(), payload.as_slice())));
        }
    }

    #[test]
    fn a_cut_message_is_refused() {
        let message = joined("station/7", b"").unwrap();
        for end in 0..message.len() {
            assert_eq!(split(&message[..end]), Err(TopicError::Cut), "{end}");
        }
        assert_eq!(split(b"\x00\x00payload"), Err(TopicError::Empty));
        assert_eq!(split(b"\x00\x01\xff"), Err(TopicError::BadTopic));
    }

    #[test]
    fn only_topics_that_a_broker_takes_get_through() {
        for bad in ["a/+", "#", "a\0", "a\nb", "a\u{7f}", "a\u{85}", "\u{ffff}", "\u{1fffe}", "\u{fdd0}"] {
            assert_eq!(joined(bad, b""), Err(TopicError::BadTopic), "{bad:?}");
            let mut raw = (bad.len() as u16).to_be_bytes().to_vec();
            raw.extend_from_slice(bad.as_bytes());
            assert_eq!(split(&raw), Err(TopicError::BadTopic), "{bad:?}");
        }
        assert_eq!(joined("", b""), Err(TopicError::Empty));
        assert_eq!(joined(&"/".repeat(LEVELS_MAX), b""), Err(TopicError::TooLong));
        joined(&"/".repeat(LEVELS_MAX - 1), b"").unwrap();
        assert_eq!(joined(&"a".repeat(TOPIC_MAX + 1), b""), Err(TopicError::TooLong));
        joined(&"a".repeat(TOPIC_MAX), b"").unwrap();
    }

    #[test]
    fn topic_and_payload_together_are_one_message() {
        let room = limits::MESSAGE_MAX as usize - PREFIX_LEN - 1;
        assert_eq!(joined("a", &vec![0; room]).unwrap().len(), limits::MESSAGE_MAX as usize);
        assert_eq!(joined("a", &vec![0; room + 1]), Err(TopicError::TooLarge));
    }

    #[test]
    fn filters_are_those_of_mqtt() {
        for good in ["a", "#", "+", "/", "a/+/b", "+/+", "a/#", "$SYS/#", "/+"] {
            assert!(is_filter(good), "{good}");
        }
        for bad in ["", "a#", "a/#/b", "a+", "+a/b", "#/a", "a\n"] {
            assert!(!is_filter(bad), "{bad}");
        }
        let yes = [("#", "a/b"), ("a/#", "a"), ("a/#", "a/b/c"), ("+/b", "a/b"), ("+", "a"), ("/+", "/a")];
        for (filter, topic) in yes.into_iter().chain([("+/+", "/a"), ("a/+", "a/"), ("$S/#", "$S/x"), ("a", "a")]) {
            assert!(matches(filter, topic), "{filter} {topic}");
        }
        let no = [("a", "b"), ("a", "a/b"), ("a/b", "a"), ("+", "a/b"), ("+", "/a"), ("a/+", "a")];
        for (filter, topic) in no.into_iter().chain([("#", "$SYS/x"), ("+/x", "$SYS/x"), ("A", "a")]) {
            assert!(!matches(filter, topic), "{filter} {topic}");
        }
    }
}
