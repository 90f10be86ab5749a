//! A node that lies about whose transactions wait.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

mod kit;

use std::sync::Arc;

use alloy::primitives::{Address, U256};
use alloy::providers::Provider as _;
use alloy::rpc::types::TransactionRequest;
use kit::{Anvil, key};
use sdpp_evm::{Node, NodeConfig, Sender};
use sdpp_rail::RailError;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A line to a node on which two accounts have changed places.
async fn mixed_up(url: &str, one: Address, other: Address) -> String {
    let upstream = url.trim_start_matches("http://").to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let [one, other] = [one, other].map(|account| format!("{account:?}"));
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let (upstream, one, other) = (upstream.clone(), one.clone(), other.clone());
            tokio::spawn(async move {
                let mut node = TcpStream::connect(&upstream).await.unwrap();
                let (mut asked, mut said) = (vec![0; 1 << 20], vec![0; 1 << 20]);
                loop {
                    let (from, to, read) = tokio::select! {
                        read = client.read(&mut asked) => (&mut asked, &mut node, read),
                        read = node.read(&mut said) => (&mut said, &mut client, read),
                    };
                    let Ok(length @ 1..) = read else { return };
                    let text = String::from_utf8_lossy(&from[..length]).replace(&other, "0xMINE");
                    let text = text.replace(&one, &other).replace("0xMINE", &one);
                    if to.write_all(text.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    url
}

#[tokio::test]
async fn only_what_the_key_itself_has_signed_is_signed_again() {
    let anvil = Anvil::start().await;
    let (thief, victim) = (key(9), key(1));
    anvil.raw("evm_setAutomine", (false,)).await;
    // The thief's own transaction waits; the node calls it the victim's.
    let request = TransactionRequest { to: Some(Address::repeat_byte(7).into()), ..TransactionRequest::default() };
    let request = TransactionRequest { value: Some(U256::from(5)), ..request };
    let _sent = anvil.provider.send_transaction(request).await.unwrap();
    let url = mixed_up(&anvil.url, thief.address(), victim.address()).await;
    let node = Arc::new(Node::reach(&NodeConfig { url, ..anvil.config(0) }).await.unwrap());
    let (mined, known) = node.nonces(victim.address()).await.unwrap();
    assert_eq!(known, mined + 1, "so the node says");
    let refused = Sender::new(node.clone(), victim.clone()).hurry(false).await.unwrap_err();
    assert!(matches!(refused, RailError::Declined(why) if why.contains("does not show")), "{refused}");
    // Its owner's key sends it again.
    let honest = Arc::new(Node::reach(&anvil.config(0)).await.unwrap());
    assert_eq!(Sender::new(honest, thief).hurry(false).await, Ok(1));
}
