//! The people of the demo: a ledger with a witness, a seller and a buyer, each with its own key,
//! journal and folder.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sdpp::journal::Journal;
use sdpp::{buyer, entropy, seller, source};
use sdpp_ledger::entry::{Issue, asset_id};
use sdpp_ledger::{
    Body, DirectPayee, DirectPayer, Entry, LedgerClient, LedgerConfig, LedgerRecords, LedgerService, LocalLedger,
    PayeeConfig, RAIL_DIRECT, RAIL_VOUCHER, VoucherPayee, VoucherPayer, Witness, log_key,
};
use sdpp_log::Policy;
use sdpp_proto::codec::Bytes32;
use sdpp_proto::identity::SigningKey;
use sdpp_proto::money::{Amount, AssetId, Unit};
use sdpp_proto::statement::{Form, Product, RecordOffer, Stalled};
use sdpp_rail::{Durability, Payee, Payer, Records, SqliteStore, Store};

use super::{Args, Pay, WEATHER};

/// Name of the demo's ledger.
const ORIGIN: &str = "ledger.sdpp.example/demo";
const WITNESS: &str = "witness.sdpp.example/demo";
/// Millionths of a demo dollar.
const SYMBOL: &str = "uUSD";
/// What the buyer starts with: a million demo dollars.
const GRANT: Amount = Amount::new(1_000_000_000_000);
/// Grace period of channels.
const GRACE_MS: u64 = 60_000;
/// Time from an invoice to `default`.
pub(super) const PAY_BY_MS: u64 = 5_000;
/// Largest message.
const MESSAGE_MAX: u32 = 64 * 1024;
/// Invoices between two redemptions.
const REDEEM_EVERY: u64 = 16;

pub(super) type Failure = Box<dyn Error>;

/// Everybody, and what they share.
pub(super) struct House {
    pub(super) args: Args,
    home: PathBuf,
    temporary: bool,
    pub(super) ledger: LocalLedger,
    pub(super) ledger_key: SigningKey,
    pub(super) witness: Arc<Witness>,
    pub(super) policy: Policy,
    pub(super) seller: SigningKey,
    pub(super) buyer: SigningKey,
    pub(super) asset: AssetId,
    /// Lines of the data.
    pub(super) lines: u64,
}

fn fresh_key() -> Result<SigningKey, Failure> {
    Ok(SigningKey::from_seed(&entropy::draw()?))
}

fn clock() -> sdpp_ledger::Clock {
    Arc::new(sdpp::now)
}

impl House {
    /// Makes keys and folders, starts ledger and witness, and gives the buyer its money.
    pub(super) async fn build(args: &Args) -> Result<Self, Failure> {
        let (home, temporary) = make_home(args)?;
        let (ledger_key, seller, buyer) = (fresh_key()?, fresh_key()?, fresh_key()?);
        let log = log_key(ORIGIN, &ledger_key).map_err(|error| error.to_string())?;
        let store = open_store(&home, "witness", args.durability())?;
        let witness = Witness::start(WITNESS, fresh_key()?, clock(), Box::new(store), std::slice::from_ref(&log))
            .map_err(|error| error.to_string())?;
        let witness = Arc::new(witness);
        let policy = Policy::new(log, vec![witness.key().clone()], 1)?;
        let mut config = LedgerConfig::new(ORIGIN, ledger_key.clone(), clock());
        config.witnesses.push(witness.clone());
        if !temporary {
            // For whoever looks at it afterwards.
            config.folder = Some(home.join("ledger/public"));
            std::fs::write(home.join("ledger/log.vkey"), format!("{}\n", policy.log()))?;
            std::fs::write(home.join("witness/witness.vkey"), format!("{}\n", witness.key()))?;
        }
        let ledger = LocalLedger::start(
            config,
            Box::new(open_store(&home, "ledger", args.durability())?.with_cache(sdpp_ledger::limits::STORE_CACHE_KIB)?),
        )?;
        let asset = asset_id(SYMBOL, &ledger_key.public());
        let grant = Issue { symbol: SYMBOL.to_owned(), to: buyer.public(), amount: GRANT, reference: Bytes32([1; 32]) };
        ledger.submit(Entry::sign(&ledger_key, ORIGIN, Body::Issue(grant)).bytes()).await?;
        let house = Self {
            args: args.clone(),
            home,
            temporary,
            ledger,
            ledger_key,
            witness,
            policy,
            seller,
            buyer,
            asset,
            lines: 0,
        };
        house.with_data()
    }

    /// Puts the data into its place and counts it.
    fn with_data(mut self) -> Result<Self, Failure> {
        let path = self.data();
        if self.args.data.is_none() {
            std::fs::write(&path, WEATHER)?;
        }
        let bytes = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty() && *line != b"\r").count();
        self.lines = u64::try_from(lines)?;
        if self.lines == 0 {
            return Err(format!("{} has no lines to sell", path.display()).into());
        }
        Ok(self)
    }

    /// Another ledger of the same name and key, with another history: what a thief would show.
    pub(super) async fn forked_ledger(&self) -> Result<LocalLedger, Failure> {
        let config = LedgerConfig::new(ORIGIN, self.ledger_key.clone(), clock());
        let fork = LocalLedger::start(config, Box::new(sdpp_rail::MemoryDisk::new().open()))?;
        let thief = fresh_key()?;
        for number in 0..8u8 {
            let reference = Bytes32([number; 32]);
            let grant = Issue { symbol: SYMBOL.to_owned(), to: thief.public(), amount: GRANT, reference };
            fork.submit(Entry::sign(&self.ledger_key, ORIGIN, Body::Issue(grant)).bytes()).await?;
        }
        Ok(fork)
    }

    pub(super) fn origin(&self) -> &str {
        ORIGIN
    }

    pub(super) fn folder(&self) -> &Path {
        &self.home
    }

    /// The file that is sold.
    pub(super) fn data(&self) -> PathBuf {
        self.args.data.clone().unwrap_or_else(|| self.home.join("seller/weather.ndjson"))
    }

    pub(super) fn bought(&self) -> PathBuf {
        self.home.join("buyer/bought.ndjson")
    }

    pub(super) fn canonical(&self) -> PathBuf {
        self.home.join("buyer/messages.bin")
    }

    /// Messages to buy.
    pub(super) fn messages(&self) -> u64 {
        self.args.messages.unwrap_or(self.lines).min(self.lines)
    }

    pub(super) fn product(&self) -> Product {
        Product {
            id: 1,
            topic: "weather".to_owned(),
            schema: "one JSON object a message".to_owned(),
            unit: Unit::Message,
            amount: self.args.amount(),
            per: self.args.price.1,
            available: Some(self.lines),
            k: self.args.k,
            window_ms: 1000,
            window_bytes: 0,
            message_max: MESSAGE_MAX,
            windows_max: self.args.windows,
            signing: self.args.signing(),
            acks: false,
            when_stalled: Stalled::Buffer,
            sample: false,
            cadence_ms: None,
            licence: Some("public domain, see examples/data/README.md".to_owned()),
        }
    }

    /// A client of somebody's own, which believes nothing it cannot check.
    pub(super) fn client(&self, service: Arc<dyn LedgerService>) -> Result<Arc<LedgerClient>, Failure> {
        let client = LedgerClient::new(service, self.policy.clone(), None);
        Ok(Arc::new(client.map_err(|error| error.to_string())?))
    }

    pub(super) fn honest(&self) -> Arc<dyn LedgerService> {
        Arc::new(self.ledger.clone())
    }

    pub(super) fn payee(&self, client: &Arc<LedgerClient>) -> Result<Arc<dyn Payee>, Failure> {
        let config = PayeeConfig {
            key: self.seller.clone(),
            asset: self.asset.clone(),
            grace_min_ms: GRACE_MS,
            pay_by_ms: PAY_BY_MS,
            url: None,
        };
        let store = Box::new(open_store(&self.home, "seller/rail", self.args.durability())?);
        Ok(match self.args.pay {
            Pay::Voucher => Arc::new(VoucherPayee::new(client.clone(), config, store)),
            Pay::Direct => Arc::new(DirectPayee::new(client.clone(), config, store)),
        })
    }

    pub(super) fn payer(&self, client: &Arc<LedgerClient>) -> (Arc<dyn Payer>, String) {
        let key = self.buyer.clone();
        match self.args.pay {
            Pay::Voucher => (Arc::new(VoucherPayer::new(client.clone(), key)), RAIL_VOUCHER.to_owned()),
            Pay::Direct => (Arc::new(DirectPayer::new(client.clone(), key)), RAIL_DIRECT.to_owned()),
        }
    }

    /// Most that the seller lets a buyer owe: what its outstanding windows cost.
    pub(super) fn exposure(&self) -> Amount {
        self.product().exposure(self.args.windows).unwrap_or(Amount::MAX)
    }

    pub(super) fn seller_settings(
        &self,
        client: &Arc<LedgerClient>,
        listener: seller::Listener,
    ) -> Result<seller::Settings, Failure> {
        let (path, rate, count) = (self.data(), Some(self.args.rate), self.messages());
        let offer = seller::Offer {
            product: self.product(),
            source: Arc::new(move |_| Ok(Box::new(source::Lines::open(&path, rate, Some(count))?))),
            exposure_max: self.exposure(),
            sample: Vec::new(),
        };
        let records: Arc<dyn Records> = Arc::new(LedgerRecords::new(client.clone(), self.seller.clone()));
        let pool = Amount::MAX;
        Ok(seller::Settings {
            key: self.seller.clone(),
            offers: vec![offer],
            payees: vec![self.payee(client)?],
            records: Some(records),
            record_offer: RecordOffer { backend: "ledger".to_owned(), origin: ORIGIN.to_owned(), form: Form::Full },
            standings: None,
            journal: Journal::start(open_store(&self.home, "seller/journal", self.args.durability())?)?,
            pools: seller::Pools { strangers: pool, proven: pool },
            limits: seller::Limits::default(),
            redeem_every: REDEEM_EVERY,
            tend_every: seller::TEND_EVERY,
            listener,
        })
    }

    pub(super) fn buyer_settings(
        &self,
        client: &Arc<LedgerClient>,
        journal: Journal,
        listener: buyer::Listener,
    ) -> buyer::Settings {
        let (payer, rail) = self.payer(client);
        let records: Arc<dyn Records> = Arc::new(LedgerRecords::new(client.clone(), self.buyer.clone()));
        buyer::Settings {
            key: self.buyer.clone(),
            suites: vec![self.args.suite()],
            payer,
            rail,
            records: Some(records),
            standings: None,
            journal,
            reconnect: buyer::Reconnect { tries: Some(3), ..buyer::Reconnect::default() },
            progress: Arc::default(),
            listener,
        }
    }

    pub(super) fn buyer_journal(&self) -> Result<Journal, Failure> {
        Ok(Journal::start(open_store(&self.home, "buyer/journal", self.args.durability())?)?)
    }
}

/// Ends the ledger, and removes what nobody asked to keep: also when the demo fails half-way.
impl Drop for House {
    fn drop(&mut self) {
        self.ledger.stop();
        if self.temporary {
            // A folder that stays is an annoyance, not a failure.
            let _ = std::fs::remove_dir_all(&self.home);
        }
    }
}

fn make_home(args: &Args) -> Result<(PathBuf, bool), Failure> {
    let home = match &args.home {
        Some(home) => {
            let used = home.read_dir().is_ok_and(|mut entries| entries.next().is_some());
            if used {
                return Err(format!("{} is not empty: name a new folder", home.display()).into());
            }
            home.clone()
        }
        None => {
            let mut random = [0u8; 8];
            getrandom::fill(&mut random).map_err(|error| error.to_string())?;
            std::env::temp_dir().join(format!("sdpp-demo-{:016x}", u64::from_be_bytes(random)))
        }
    };
    for role in ["ledger", "witness", "seller", "buyer"] {
        std::fs::create_dir_all(home.join(role)).map_err(|error| format!("{}: {error}", home.display()))?;
    }
    Ok((home, args.home.is_none()))
}

/// Opens `ROLE/NAME.db`, or `ROLE/ROLE.db`.
pub(super) fn open_store(home: &Path, name: &str, durability: Durability) -> Result<SqliteStore, Failure> {
    let (role, file) = name.split_once('/').unwrap_or((name, name));
    let mut store = SqliteStore::open(home.join(role).join(format!("{file}.db")), durability)?;
    store.flush()?;
    Ok(store)
}
