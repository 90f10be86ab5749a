//! `cargo run --release -p sdpp-bench --bin iota`

#![allow(clippy::print_stdout, reason = "a program that prints its result")]

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use sdpp_bench::{Failure, ended};
use sdpp_iota::fake::FakeNetwork;
use sdpp_iota::{Deed, Gas, JsonRpc, Transport as _, Wallet, Window, build, verify};

/// Payments that are measured, each by itself.
const PAYMENTS: usize = 2_000;
/// Those before them, that warm up.
const WARM: usize = 200;

fn main() -> ExitCode {
    ended("iota", run())
}

/// Microseconds: the half, and all but one of a hundred.
fn told(mut took: Vec<f64>) -> String {
    took.sort_by(f64::total_cmp);
    let at = |share: usize| took.get(took.len().saturating_mul(share) / 100).copied().unwrap_or(f64::NAN);
    format!("{:>8.1} {:>8.1}", at(50), at(99))
}

fn micros(from: Instant) -> f64 {
    from.elapsed().as_secs_f64() * 1e6
}

fn run() -> Result<(), Failure> {
    let (network, wallet) = (FakeNetwork::new("8d602a01"), Wallet::from_seed(&[7; 32]));
    network.grant(wallet.address(), 1_000_000_000_000);
    let node = JsonRpc::new(network.line());
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let (mut building, mut verifying) = (Vec::new(), Vec::new());
    for number in 0..PAYMENTS.saturating_add(WARM) {
        let coins = runtime.block_on(node.coins(&wallet.address(), None))?.coins;
        let coin = coins.first().ok_or("no coin")?.reference;
        let window = Window { payee: Wallet::from_seed(&[9; 32]).address(), amount: 1, record: vec![3; 38] };
        let deed = Arc::new(Deed::Pay(window));
        let gas = Gas { coins: vec![coin], sponsor: None, price: 1_000, budget: 50_000_000, expires: Some(0) };
        let begun = Instant::now();
        let transaction = build(wallet.address(), &deed, &gas)?;
        let signed = wallet.sign(&transaction)?;
        let built = micros(begun);
        runtime.block_on(node.execute(&signed))?;
        let receipt = runtime.block_on(node.transaction(&transaction.digest()))?.ok_or("it is not there")?;
        let begun = Instant::now();
        verify(&receipt, wallet.address(), &deed)?;
        if number >= WARM {
            building.push(built);
            verifying.push(micros(begun));
        }
    }
    println!("microseconds of one payment, {PAYMENTS} of them: the half, 99 of 100");
    println!("build, sign {}\nverify      {}", told(building), told(verifying));
    Ok(())
}
