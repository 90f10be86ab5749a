//! What a publisher keeps until the broker has it: pure, so that every order of events can be tested.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use crate::PublishError;
use crate::limits::{IN_FLIGHT_MAX, IN_FLIGHT_V3, KEPT_BYTES, KEPT_MESSAGES, WRITE_BYTES};
use crate::line::refusal;
use crate::packet::{ConnAck, Outgoing, Qos, Step, Version, write_ack, write_publish};

/// The property with a message's number.
const SEQ: &str = "sdpp-seq";

/// Where a message stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// To be sent.
    Waiting,
    /// Sent, without an answer.
    Sent,
    /// The broker has it and waits to be told that we know (quality of service 2).
    Received,
    Done,
}

struct Kept {
    seq: u64,
    topic: String,
    payload: Bytes,
    stage: Stage,
    /// 0 before it was first sent.
    id: u16,
    /// Sent before, in the session that goes on.
    again: bool,
}

/// Messages in order, from the first that is not acknowledged.
pub(crate) struct Outbox {
    version: Version,
    qos: Qos,
    kept: VecDeque<Kept>,
    bytes: usize,
    acknowledged: u64,
    last_id: u16,
    /// So many from the front were sent on this connection.
    sent: usize,
    in_flight_max: usize,
    packet_max: Option<u32>,
}

impl Outbox {
    pub(crate) const fn new(version: Version, qos: Qos) -> Self {
        Self {
            version,
            qos,
            kept: VecDeque::new(),
            bytes: 0,
            acknowledged: 0,
            last_id: 0,
            sent: 0,
            in_flight_max: IN_FLIGHT_MAX,
            packet_max: None,
        }
    }

    pub(crate) const fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    pub(crate) fn has_room(&self) -> bool {
        self.kept.len() < KEPT_MESSAGES && self.bytes < KEPT_BYTES
    }

    pub(crate) fn push(&mut self, seq: u64, topic: String, payload: Bytes) {
        self.bytes = self.bytes.saturating_add(payload.len()).saturating_add(topic.len());
        self.kept.push_back(Kept { seq, topic, payload, stage: Stage::Waiting, id: 0, again: false });
    }

    /// A new connection. What was sent and not acknowledged is sent again; where the broker knows the
    /// session, it is told so.
    pub(crate) fn begin(&mut self, connack: &ConnAck) {
        self.sent = 0;
        let broker_max = usize::from(connack.receive_max).max(1);
        self.in_flight_max = match (self.version, self.qos) {
            // Nothing is in flight without acknowledgements, and none would wake us for the rest.
            (Version::V3 | Version::V5, Qos::AtMostOnce) => usize::MAX,
            (Version::V3, Qos::ExactlyOnce) => IN_FLIGHT_V3.min(broker_max),
            (Version::V3 | Version::V5, Qos::AtLeastOnce | Qos::ExactlyOnce) => IN_FLIGHT_MAX.min(broker_max),
        };
        self.packet_max = connack.packet_max;
        for kept in &mut self.kept {
            kept.again |= kept.stage == Stage::Sent;
            kept.again &= connack.session_present;
            kept.stage = match kept.stage {
                Stage::Received if connack.session_present => Stage::Received,
                Stage::Waiting | Stage::Sent | Stage::Received => Stage::Waiting,
                Stage::Done => Stage::Done,
            };
        }
    }

    /// Writes what may be sent now; says whether more could be.
    pub(crate) fn write(&mut self, out: &mut BytesMut) -> Result<bool, PublishError> {
        while self.sent < self.kept.len().min(self.in_flight_max) {
            if out.len() >= WRITE_BYTES {
                return Ok(true);
            }
            let Some(kept) = self.kept.get_mut(self.sent) else { break };
            match kept.stage {
                Stage::Done => {}
                Stage::Received => write_ack(Step::Rel, kept.id, out),
                Stage::Waiting | Stage::Sent => {
                    if kept.id == 0 {
                        // Those in use are the last few, so a number comes back long after its use.
                        self.last_id = self.last_id.checked_add(1).unwrap_or(1);
                        kept.id = self.last_id;
                    }
                    kept.stage = Stage::Sent;
                    let (before, seq) = (out.len(), kept.seq.to_string());
                    let (topic, payload) = (kept.topic.as_str(), &*kept.payload);
                    let property = Some((SEQ, seq.as_str()));
                    let message = Outgoing { again: kept.again, qos: self.qos, id: kept.id, topic, payload, property };
                    write_publish(self.version, &message, out);
                    let length = u32::try_from(out.len().saturating_sub(before)).unwrap_or(u32::MAX);
                    if let Some(max) = self.packet_max.filter(|max| length > *max) {
                        return Err(PublishError::TooLargeForBroker { seq: kept.seq, max });
                    }
                }
            }
            self.sent = self.sent.saturating_add(1);
        }
        Ok(false)
    }

    /// What was written has left; without acknowledgements that is all there is to know.
    pub(crate) fn written(&mut self) {
        if self.qos == Qos::AtMostOnce {
            for kept in self.kept.iter_mut().take(self.sent) {
                kept.stage = Stage::Done;
            }
            self.forget();
        }
    }

    /// The broker answers.
    pub(crate) fn answer(
        &mut self,
        step: Step,
        (id, reason): (u16, u8),
        out: &mut BytesMut,
    ) -> Result<(), PublishError> {
        let mut sent = self.kept.iter_mut().take(self.sent);
        let Some(kept) = sent.find(|kept| kept.id == id && kept.stage != Stage::Done) else {
            // Of a session before ours, perhaps; the broker must not wait for us.
            if step == Step::Rec {
                write_ack(Step::Rel, id, out);
            }
            return Ok(());
        };
        if reason >= 0x80 && step != Step::Comp {
            return Err(PublishError::Refused { seq: kept.seq, topic: kept.topic.clone(), why: refusal(reason) });
        }
        match (step, self.qos) {
            (Step::Rec, Qos::ExactlyOnce) => {
                kept.stage = Stage::Received;
                write_ack(Step::Rel, id, out);
            }
            (Step::Comp, Qos::ExactlyOnce) | (Step::Ack, Qos::AtLeastOnce) => kept.stage = Stage::Done,
            (Step::Ack | Step::Rec | Step::Rel | Step::Comp, _) => {}
        }
        self.forget();
        Ok(())
    }

    fn forget(&mut self) {
        while self.kept.front().is_some_and(|kept| kept.stage == Stage::Done) {
            let Some(kept) = self.kept.pop_front() else { return };
            self.bytes = self.bytes.saturating_sub(kept.payload.len().saturating_add(kept.topic.len()));
            self.sent = self.sent.saturating_sub(1);
            self.acknowledged = self.acknowledged.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outbox(qos: Qos, count: u64) -> Outbox {
        let mut outbox = Outbox::new(Version::V3, qos);
        for seq in 0..count {
            outbox.push(seq, "t".to_owned(), Bytes::from(vec![u8::try_from(seq).unwrap_or(0)]));
        }
        outbox
    }

    fn connack(session_present: bool) -> ConnAck {
        ConnAck { receive_max: 2, ..ConnAck::of(session_present, 0) }
    }

    fn written(outbox: &mut Outbox) -> Vec<u8> {
        let mut out = BytesMut::new();
        outbox.write(&mut out).unwrap();
        out.to_vec()
    }

    fn answer(outbox: &mut Outbox, step: Step, id: u16) -> Vec<u8> {
        let mut out = BytesMut::new();
        outbox.answer(step, (id, 0), &mut out).unwrap();
        out.to_vec()
    }

    #[test]
    fn only_what_is_acknowledged_without_a_gap_counts() {
        let mut outbox = outbox(Qos::AtLeastOnce, 3);
        outbox.begin(&connack(false));
        assert_eq!(written(&mut outbox), b"\x32\x06\0\x01t\0\x01\0\x32\x06\0\x01t\0\x02\x01", "two may be on the wire");
        answer(&mut outbox, Step::Ack, 2);
        assert_eq!((outbox.acknowledged(), written(&mut outbox).len()), (0, 0));
        answer(&mut outbox, Step::Ack, 1);
        assert_eq!(outbox.acknowledged(), 2);
        assert_eq!(written(&mut outbox), b"\x32\x06\0\x01t\0\x03\x02");
        answer(&mut outbox, Step::Ack, 3);
        assert_eq!((outbox.acknowledged(), outbox.is_empty(), outbox.bytes), (3, true, 0));
        answer(&mut outbox, Step::Ack, 9);
    }

    #[test]
    fn without_acknowledgements_all_is_sent_at_once() {
        let mut outbox = outbox(Qos::AtMostOnce, 1000);
        outbox.begin(&connack(false));
        assert_eq!(written(&mut outbox).len(), 1000 * b"\x30\x04\0\x01t\0".len());
        outbox.written();
        assert_eq!((outbox.is_empty(), outbox.acknowledged()), (true, 1000));
    }

    #[test]
    fn what_is_not_acknowledged_is_sent_again() {
        let mut outbox = outbox(Qos::AtLeastOnce, 2);
        outbox.begin(&connack(false));
        written(&mut outbox);
        answer(&mut outbox, Step::Ack, 2);
        outbox.begin(&connack(false));
        assert_eq!(written(&mut outbox), b"\x32\x06\0\x01t\0\x01\0", "a broker that forgot gets it as new");
        outbox.begin(&connack(true));
        assert_eq!(written(&mut outbox), b"\x3a\x06\0\x01t\0\x01\0", "one that did not is told that it is sent again");
        answer(&mut outbox, Step::Ack, 1);
        assert_eq!(outbox.acknowledged(), 2);
    }

    #[test]
    fn exactly_once_goes_on_where_it_was() {
        let mut outbox = outbox(Qos::ExactlyOnce, 1);
        outbox.begin(&connack(false));
        assert_eq!(written(&mut outbox)[0], 0x34);
        assert_eq!(answer(&mut outbox, Step::Rec, 1), b"\x62\x02\0\x01");
        assert_eq!(outbox.acknowledged(), 0);
        outbox.begin(&connack(true));
        assert_eq!(written(&mut outbox), b"\x62\x02\0\x01", "never the message a second time");
        answer(&mut outbox, Step::Comp, 1);
        assert_eq!(outbox.acknowledged(), 1);
        assert_eq!(answer(&mut outbox, Step::Rec, 5), b"\x62\x02\0\x05", "of an older session");
    }

    #[test]
    fn a_message_that_the_broker_refuses_is_an_error() {
        let mut outbox = outbox(Qos::AtLeastOnce, 1);
        outbox.begin(&ConnAck { packet_max: Some(7), ..connack(false) });
        let error = outbox.write(&mut BytesMut::new());
        assert_eq!(error, Err(PublishError::TooLargeForBroker { seq: 0, max: 7 }));
        outbox.begin(&connack(false));
        written(&mut outbox);
        let error = outbox.answer(Step::Ack, (1, 0x87), &mut BytesMut::new()).unwrap_err();
        assert!(matches!(error, PublishError::Refused { seq: 0, .. }));
        assert_eq!(outbox.acknowledged(), 0);
    }

    #[test]
    fn without_acknowledgements_what_has_left_counts() {
        let mut outbox = outbox(Qos::AtMostOnce, 3);
        outbox.begin(&connack(false));
        written(&mut outbox);
        assert_eq!(outbox.acknowledged(), 0);
        outbox.written();
        written(&mut outbox);
        outbox.written();
        assert_eq!(outbox.acknowledged(), 3);
    }
}
