//! What is played in a market, and what must be true at its end, whoever was killed meanwhile.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cases::Trace;
use crate::kit::*;
use crate::lane::trace_of;
use crate::live;
use crate::market::*;
use crate::proof;
use crate::sale::Sale;

const DEAL: Deal = Deal { count: 24, price: 5, k: 4, windows: 2 };
pub(crate) const PLAN: Plan = Plan { deal: DEAL, witnessed: true, config: "", traced: false };

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Scene {
    /// A sale that is paid by vouchers.
    Voucher,
    /// A sale whose windows are each paid by a transfer.
    Direct,
    /// The seller dies before it has heard of the order, which is then void.
    Void,
    /// The debt of a buyer that stays away is written off; then it comes back.
    WriteOff,
    /// The buyer declares its journal as put back from a backup, and settles.
    Restored,
    /// Everybody is started for the first time, and then there is a sale.
    Birth,
    /// The buyer does not pay in time; later it does.
    Late,
    /// A full tile replaces its partial ones.
    FullTile,
    /// The witness is shown two histories.
    Fork,
    /// Keys give way to others.
    Keys,
    /// Readings of a broker are sold, and published again.
    Live,
}

/// Who is killed in a scene.
pub(crate) struct Play {
    /// A home that is not there yet.
    pub(crate) home: String,
    pub(crate) who: Who,
    /// Failpoints of its next lives.
    pub(crate) lives: Vec<String>,
    pub(crate) label: String,
}

/// What came of a play.
pub(crate) struct Played {
    pub(crate) killed: Vec<Who>,
    /// Where everybody was, if it was traced.
    pub(crate) trace: Trace,
    /// Commands of the buyer.
    pub(crate) buyer_lives: usize,
}

impl Played {
    pub(crate) fn deaths(&self, who: Who) -> usize {
        self.killed.iter().filter(|killed| **killed == who).count()
    }
}

impl Scene {
    pub(crate) const ALL: [Self; 11] = [
        Self::Voucher,
        Self::Direct,
        Self::Void,
        Self::WriteOff,
        Self::Restored,
        Self::Birth,
        Self::Late,
        Self::FullTile,
        Self::Fork,
        Self::Keys,
        Self::Live,
    ];

    /// Whether it is a sale from its beginning to its end, and nothing else.
    pub(crate) const fn is_whole_sale(self) -> bool {
        matches!(self, Self::Voucher | Self::Direct)
    }

    /// Whether it spoils or needs a market of its own.
    pub(crate) const fn has_own_market(self) -> bool {
        matches!(self, Self::Late | Self::Birth | Self::FullTile | Self::Fork | Self::Live)
    }

    /// Deaths that are a part of the scene.
    pub(crate) const fn own_deaths(self, who: Who) -> usize {
        match (self, who) {
            (Self::Void, Who::Seller) | (Self::WriteOff | Self::Restored, Who::Buyer) => 1,
            _ => 0,
        }
    }
}

/// Plays a scene in a market of its own; gives who was killed, and where all were.
pub(crate) fn play_apart(scene: Scene, play: &Play, traced: bool) -> Played {
    if scene == Scene::Live {
        return live::play(play, traced);
    }
    let config = if scene == Scene::Late { "[seller]\npay_by = \"1s\"\n" } else { "" };
    let plan = Plan { config, traced, ..PLAN };
    let mut fates = Fates::default();
    if scene == Scene::Birth {
        fates.put(play.who, play.lives.iter().cloned());
    }
    let mut market = Market::open_with(&format!("{}-market", play.home), plan, fates);
    let killed = self::play(scene, &mut market, play);
    let played = Played { killed, trace: trace_of(&market), buyer_lives: market.buyer_lives };
    proof::close(market);
    played
}

/// Plays a scene; gives who was killed.
pub(crate) fn play(scene: Scene, market: &mut Market, play: &Play) -> Vec<Who> {
    let direct = matches!(scene, Scene::Direct | Scene::Restored);
    let mut sale = Sale::new(market, &play.home, direct, play.label.clone());
    match scene {
        Scene::Voucher | Scene::Direct => arm(market, play),
        // Its market was made so.
        Scene::Birth => {}
        Scene::Void => {
            market.fates.put(Who::Seller, ["flush/order:1".to_owned()]);
            market.restart(Who::Seller);
            arm(market, play);
        }
        Scene::WriteOff => write_off(market, play, &mut sale),
        Scene::Late => return be_late(market, play, sale),
        Scene::FullTile => {
            crate::forge::fill(market);
            arm(market, play);
        }
        Scene::Fork => {
            arm(market, play);
            crate::forge::fork(market);
        }
        Scene::Restored => return restored(market, play, sale),
        Scene::Keys => return keys(market, play),
        Scene::Live => unreachable!("it has a market of its own"),
    }
    sale.pursue(market);
    sale.check(market);
    proof::bundle(&sale, market);
    if matches!(play.who, Who::Ledger | Who::Witness) {
        proof::sound(market);
    }
    if scene == Scene::FullTile {
        // Parts of a full tile go last, and whenever there is time for it.
        let tiles = market.folder.path("tiles");
        until(|| {
            market.tend();
            ["tile/0/000", "tile/entries/000"].iter().all(|full| tiles.join(full).exists()) && !has_parts(&tiles)
        });
        sale.killed.extend(market.take_killed());
    }
    sale.killed
}

/// Whether some tile is there both full and in part.
fn has_parts(folder: &Path) -> bool {
    std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path()).any(|path| {
        let is_part = path.extension().is_some_and(|extension| extension == "p");
        (is_part && path.with_extension("").exists()) || (path.is_dir() && has_parts(&path))
    })
}

/// From now on the lives of the one it is about end as they are to.
pub(crate) fn arm(market: &mut Market, play: &Play) {
    market.fates.put(play.who, play.lives.iter().cloned());
    if play.who != Who::Buyer && !play.lives.is_empty() {
        market.restart(play.who);
    }
}

/// The first life of the buyer ends so.
fn begin(market: &mut Market, sale: &mut Sale, end: &str) {
    market.fates.put(Who::Buyer, [end.to_owned()]);
    let command = sale.next_command(market).unwrap();
    sale.run_once(market, command, Instant::now());
    assert_eq!(sale.killed, [Who::Buyer], "{}: at {end}", sale.label);
}

/// A command of the seller or the buyer, again until it was not killed and is done.
pub(crate) fn insist(market: &mut Market, who: Who, home: &str, args: &[&str]) -> String {
    let start = Instant::now();
    loop {
        let mut command = market.command(home, args);
        if who == Who::Buyer {
            market.fate(who, &mut command);
        }
        let output = command.output().unwrap();
        if who == Who::Buyer {
            market.buyer_ended(output.status);
        }
        if output.status.success() {
            return String::from_utf8(output.stdout).unwrap();
        }
        market.tend();
        assert!(start.elapsed() < PATIENCE, "{args:?}: {}", stderr(&output));
        thread::sleep(Duration::from_millis(20));
    }
}

fn write_off(market: &mut Market, play: &Play, sale: &mut Sale) {
    begin(market, sale, "flush/payment:2");
    let order = sale.order(market).unwrap();
    arm(market, play);
    insist(market, Who::Seller, "seller", &["status", "write-off", text(&order["order"])]);
}

/// The buyer is suspended before it pays, until its time is over.
fn be_late(market: &mut Market, play: &Play, mut sale: Sale) -> Vec<Who> {
    let mut lives = play.lives.clone();
    let own = if play.who == Who::Buyer && !lives.is_empty() { format!(",{}", lives.remove(0)) } else { String::new() };
    market.fates.put(Who::Buyer, [format!("pay/bill:2:halt{own}")]);
    let mut command = sale.next_command(market).unwrap();
    market.fate(Who::Buyer, &mut command);
    arm(market, &Play { lives, home: play.home.clone(), label: play.label.clone(), ..*play });
    let mut buyer = Served::spawn(command);
    let state = |market: &mut Market| {
        market.tend();
        let output = market.run("seller", &["status", "--json"]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut rows = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        rows.find(|row| row["kind"] == "order").map(|row| row["state"].as_str().unwrap_or_default().to_owned())
    };
    until(|| state(market).as_deref() == Some("live"));
    until(|| state(market).is_some_and(|state| state != "live"));
    buyer.signal("CONT");
    let status = buyer.wait();
    // Its payment still counts. Only a seller that is away leaves it unfinished.
    let ended = was_killed(status) || matches!(status.code(), Some(0 | 4 | 9));
    assert!(ended, "{}: {status}: {}", sale.label, buyer.said());
    market.buyer_ended(status);
    sale.pursue(market);
    settled_early(market, sale)
}

/// An order that has ended before all was sold: what was delivered is paid for, once.
fn settled_early(market: &mut Market, mut sale: Sale) -> Vec<Who> {
    sale.killed.extend(market.take_killed());
    let order = sale.order(market).unwrap();
    assert!(order["state"] == "settled" && order["due"] == order["paid"], "{}: {order}", sale.label);
    let count = order["verified"].as_u64().unwrap() as usize;
    let source = std::fs::read_to_string(market.folder.path("data")).unwrap();
    let wanted: String = source.lines().take(count).map(|line| format!("{line}\n")).collect();
    assert_eq!(std::fs::read_to_string(&sale.out).unwrap(), wanted, "{}", sale.label);
    sale.money(market, text(&order["paid"]).parse().unwrap());
    sale.audit(market);
    sale.killed
}

fn restored(market: &mut Market, play: &Play, mut sale: Sale) -> Vec<Who> {
    begin(market, &mut sale, "paid/bill:2");
    arm(market, play);
    insist(market, Who::Buyer, &play.home, &["orders", "restored", "--as", "buyer"]);
    sale.pursue(market);
    settled_early(market, sale)
}

/// The keys that a folder has, under all names: the one in use, old ones and the next one.
fn keys_in(folder: &Path) -> BTreeSet<String> {
    let names = std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    let is_key = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        name == "key" || name == "key.next" || name.starts_with("key.old-")
    };
    names.filter(is_key).map(|path| sdpp::identity::read(path).unwrap().public().to_string()).collect()
}

/// Each command is seen through over all deaths; no key that was there is ever lost.
fn keys(market: &mut Market, play: &Play) -> Vec<Who> {
    let folder = market.folder.path(&play.home).join("buyer");
    let mut known = BTreeSet::new();
    arm(market, play);
    for command in [
        &["ledger", "key", "--as"][..],
        &["key", "rotate", "--no-ledger", "--role"],
        &["key", "revoke", "--renew", "--yes", "--no-ledger", "--role"],
    ] {
        let mut done = false;
        while !done {
            let mut command = market.command(&play.home, &[command, &["buyer", "--json"]].concat());
            command.env_remove("SDPP_LEDGER");
            market.fate(Who::Buyer, &mut command);
            let output = command.output().unwrap();
            done = output.status.success();
            market.buyer_ended(output.status);
            let killed = was_killed(output.status);
            assert!(done || killed, "{}: {}", play.label, stderr(&output));
            let now = keys_in(&folder);
            assert!(now.is_superset(&known), "{}: a key is lost: {known:?}, {now:?}", play.label);
            known = now;
        }
    }
    // A key of each command at least, and nothing that is half of something.
    assert!(known.len() >= 2, "{}: {known:?}", play.label);
    let names = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let halves: Vec<String> = names.filter(|name| name.contains(".new")).collect();
    assert!(halves.is_empty(), "{}: left over: {halves:?}", play.label);
    market.disarm();
    market.take_killed()
}
