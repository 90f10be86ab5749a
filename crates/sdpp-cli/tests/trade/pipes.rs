//! What is bought goes on: to a pipe, to a program, to a file of another form.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Stdio;

use crate::kit::*;
use crate::market::*;

#[test]
fn whoever_reads_has_enough_and_all_is_settled() {
    let market = Market::open("head");
    market.on_sale("1/1", 0);
    let (seller, address) = market.sell(&[]);
    let mut buyer = market.command(&["buy", &address, "--count", "3000"]);
    let mut buyer = buyer.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut reader = BufReader::with_capacity(512, buyer.stdout.take().unwrap());
    for wanted in &weather()[..5] {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        assert_eq!(line, *wanted);
    }
    drop(reader);
    let output = buyer.wait_with_output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("the reader has enough") && said.contains("settled: "), "{said}");
    assert!(!said.contains("--resume"), "nothing goes on: {said}");

    let order = market.order();
    let (verified, paid) = (order["verified"].as_u64().unwrap(), text(&order["paid"]).parse::<u64>().unwrap());
    assert_eq!(text(&order["state"]), "settled");
    assert!((5..3000).contains(&verified) && paid <= verified, "{order}");
    assert_eq!(run(market.command(&["audit", "--offline"])).status.code(), Some(0));
    seller.stop();
}

#[test]
fn a_slow_reader_loses_nothing() {
    let market = Market::open("slow");
    market.on_sale("1/1", 0);
    let (seller, address) = market.sell(&[]);
    let mut buyer = market.command(&["buy", &address, "--count", "3000", "--quiet"]);
    let mut buyer = buyer.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    // A pipe takes some hundreds; the rest waits at the seller until somebody reads.
    let sold = || market.rows(&["status"])[0]["messages"].as_u64().unwrap();
    until(|| sold() > 100);
    assert!(sold() < 3000);
    let (mut stdout, mut all) = (buyer.stdout.take().unwrap(), Vec::new());
    let mut piece = [0; 1000];
    while let Ok(count @ 1..) = stdout.read(&mut piece) {
        all.extend_from_slice(&piece[..count]);
    }
    assert_eq!(buyer.wait().unwrap().code(), Some(0));
    assert_eq!(String::from_utf8(all).unwrap(), weather()[..3000].concat());
    seller.stop();
}

#[test]
fn programs_and_tables_take_what_is_bought() {
    let market = Market::open("sinks");
    market.on_sale("1/1", 0);
    let (seller, address) = market.sell(&[]);
    let counted = market.folder.path("counted");
    let program = format!("exec:cat > '{0}.part'; mv '{0}.part' '{0}'", counted.display());
    ends(market.command(&["buy", &address, "--count", "100", "--to", &program]), 0);
    assert_holds(&counted, 100);
    // It has ended when the purchase has; how, is not lost, and all is settled.
    let said = fails(market.command(&["buy", &address, "--count", "10", "--to", "exec:cat > /dev/null; exit 3"]), 12);
    assert!(said.contains("settled: 10 messages") && said.contains("exit status: 3"), "{said}");
    let said = fails(market.command(&["buy", &address, "--count", "10", "--to", "/nowhere/out"]), 12);
    assert!(said.contains("/nowhere/out"), "{said}");
    assert_eq!(market.balance("buyer"), GRANT - 110, "nothing was ordered for a place that is none");

    let table = market.folder.path("out.csv");
    ends(market.command(&["buy", &address, "--count", "2", "--to", &table.display().to_string()]), 0);
    let text = std::fs::read_to_string(&table).unwrap();
    let (head, first) = (text.lines().next().unwrap(), text.lines().nth(1).unwrap());
    assert!(head.contains("temperature_c") && first.contains("2010-01-01T01:00:00"), "{text}");
    assert_eq!(text.lines().count(), 3);

    // The end as JSON for programs, on standard error: standard output is the data.
    let output = run(market.command(&["buy", &address, "--count", "2", "--json"]));
    let end: serde_json::Value = serde_json::from_str(stderr(&output).lines().last().unwrap()).unwrap();
    assert_eq!((&end["settled"], &end["delivered"], &end["goes_on"]), (&true.into(), &2.into(), &false.into()));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), weather()[..2].concat());
    seller.stop();
}
