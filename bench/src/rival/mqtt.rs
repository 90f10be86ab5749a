//! MQTT 3.1.1: a real mosquitto, one publisher, one subscriber.
//!
//! The client is this project's own, crate `sdpp-mqtt`, on a thread with a runtime for each end. It writes
//! up to 256 KiB at once. With quality of service 1 up to 200 messages are on their way without the
//! broker's acknowledgement; towards the subscriber the broker has no limit, so that nothing is dropped.

use std::path::Path;
use std::sync::mpsc;
use std::thread;

use bytes::Bytes;
use sdpp::feed::Upstream as _;
use sdpp_mqtt::{MqttSource, Options, PublishError, PublishOptions, Publisher, Qos, Subscribe, Version};
use tokio::runtime::Builder;
use tokio::time::timeout;

use super::PATIENCE;
use super::server::{Program, Server};
use crate::Failure;
use crate::clock::{Stopwatch, Took};

const TOPIC: &str = "bench";

/// Started by root it would take another user's rights, and not reach its folder.
pub(super) const PROGRAM: Program = Program {
    name: "mosquitto",
    switch: "SDPP_MOSQUITTO",
    tool: "mosquitto",
    config: |port, log: &Path| {
        format!(
            "user root\nlistener {port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\n\
             max_inflight_messages 0\nmax_queued_messages 0\n\
             log_dest file {}\nlog_type error\nlog_type warning\nlog_type information\n",
            log.display()
        )
    },
    ready: " running\n",
};

/// Moves so many messages; from both connections to the last message and the broker's last acknowledgement.
pub(super) fn run(server: &Server, qos: Qos, size: usize, messages: u64) -> Result<Took, Failure> {
    let address = format!("mqtt://127.0.0.1:{}", server.port()).parse()?;
    let options = Options { version: Version::V3, ..Options::new(address) };
    let watch = Stopwatch::start_with_server(server.id());
    thread::scope(|scope| {
        let (tell, told) = mpsc::channel();
        let receiving = scope.spawn({
            let options = options.clone();
            move || block_on(subscribe(options, qos, (size, messages), tell))
        });
        // Where it ends without a word, its own error says why.
        let ready = told.recv().map_err(Failure::from);
        let published = ready.and_then(|()| block_on(publish(options, qos, (size, messages))));
        receiving.join().map_err(|_| "the receiving thread panicked")??;
        published
    })?;
    Ok(watch.stop())
}

fn block_on(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    Builder::new_current_thread().enable_all().build()?.block_on(work)
}

async fn publish(options: Options, qos: Qos, (size, messages): (usize, u64)) -> Result<(), Failure> {
    let publisher = Publisher::connect(options, PublishOptions { prefix: String::new(), qos }).await?;
    let payload: Bytes = (0..=u8::MAX).cycle().take(size).collect();
    for number in 0..messages {
        while let Err(error) = publisher.publish(number, TOPIC, payload.clone()) {
            if error != PublishError::Full {
                return Err(error.into());
            }
            timeout(PATIENCE, publisher.ready()).await??;
        }
    }
    Ok(timeout(PATIENCE, publisher.close()).await??)
}

async fn subscribe(
    options: Options,
    qos: Qos,
    (size, messages): (usize, u64),
    tell: mpsc::Sender<()>,
) -> Result<(), Failure> {
    let filters = vec![TOPIC.to_owned()];
    let mut source = MqttSource::connect(options, Subscribe { filters, qos, retained: false }).await?;
    tell.send(())?;
    let (mut items, mut left) = (Vec::new(), messages);
    while left > 0 {
        items.clear();
        timeout(PATIENCE, source.take(&mut items)).await.map_err(|_| format!("{left} messages do not come"))??;
        if items.iter().any(|item| item.payload.len() != size) {
            return Err("a message of another size has come".into());
        }
        left = left.checked_sub(u64::try_from(items.len())?).ok_or("more messages came than were published")?;
    }
    source.rest().await;
    Ok(())
}
