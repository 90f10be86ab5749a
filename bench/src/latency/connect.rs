//! From a connection to the first message.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Instant;

use rustls::client::Resumption;
use rustls::crypto::{SupportedKxGroup, aws_lc_rs};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection, StreamOwned};
use sdpp::buyer::{Buyer, Event};
use sdpp::journal::{Barrier, Journal};
use sdpp::sink::{Mark, Sink};
use sdpp_proto::message::Message;
use sdpp_proto::suite::Suite;
use sdpp_rail::fake::{FakeBank, FakeMode};

use super::Options;
use crate::Failure;
use crate::commits::Commits;
use crate::folder::Folder;
use crate::report::json_of;
use crate::report::{Rates, spread};
use crate::rival::{HOST, tls};
use crate::sale::{self, Spec, Way};

/// How long the first message of a connection took.
#[derive(Clone, Debug)]
pub struct First {
    /// Its name in the output.
    pub name: String,
    /// How both ends agreed on keys.
    pub suite: Suite,
    /// Microseconds until the first message, a value for each connection.
    pub whole_us: Rates,
    /// Microseconds until the menu was there; none but of a sale.
    pub menu_us: Rates,
    /// Commits of both journals until the first message.
    pub commits: Rates,
}

impl First {
    fn new(name: &str, suite: Suite) -> Self {
        let (whole_us, menu_us, commits) = Default::default();
        Self { name: name.into(), suite, whole_us, menu_us, commits }
    }

    /// Whether it is a sale's.
    pub const fn is_sale(&self) -> bool {
        !self.menu_us.is_empty()
    }

    pub(super) fn json(&self) -> String {
        let whole = json_of("first_us", &self.whole_us);
        let (menu, commits) = (json_of("menu_us", &self.menu_us), json_of("commits", &self.commits));
        if self.is_sale() { format!("{whole},{menu},{commits}") } else { whole }
    }

    /// With the ratio to the handshake with the same way to agree on keys.
    pub(super) fn write(&self, f: &mut fmt::Formatter<'_>, all: &[Self]) -> fmt::Result {
        write!(f, "{:<22} {:>9.0} {:>15}", self.name, self.whole_us.median(), spread(&self.whole_us))?;
        let same = all.iter().find(|other| !other.is_sale() && other.suite == self.suite);
        if let Some(same) = same.filter(|_| self.is_sale()) {
            let ratio = self.whole_us.median() / same.whole_us.median();
            let (menu, commits) = (self.menu_us.median(), self.commits.median());
            write!(f, "   {ratio:.2} x {}; menu {menu:.0}; {commits:.0} commits", same.name)?;
        }
        writeln!(f)
    }
}

/// Sales and handshakes take turns, connection by connection.
pub(super) fn run(options: &Options) -> Result<Vec<First>, Failure> {
    let ways: [(Suite, &'static dyn SupportedKxGroup, &str); 2] = [
        (Suite::X25519, aws_lc_rs::kx_group::X25519, "X25519"),
        (Suite::XWing, aws_lc_rs::kx_group::X25519MLKEM768, "X25519MLKEM768"),
    ];
    let mut firsts = Vec::new();
    let mut handshakes = Vec::new();
    for (suite, group, name) in ways {
        firsts.push(First::new(&format!("sdpp suite {}", suite.code()), suite));
        firsts.push(First::new(&format!("rustls {name}"), suite));
        handshakes.push(Handshakes::new(group)?);
    }
    let shop = Shop::new(options)?;
    let settings = sale::settings_by(&shop.spec, &shop.bank, (shop.journal("seller")?, FakeMode::Voucher));
    let buyers = shop.journal("buyer")?;
    sale::with_seller(settings, |at| {
        // One more of each warms up.
        for number in 0..=options.connections {
            for ([sold, shaken], handshakes) in firsts.as_chunks_mut().0.iter_mut().zip(&handshakes) {
                let key = number.saturating_mul(2).saturating_add(usize::from(sold.suite == Suite::XWing));
                let parts = shop.buy(at, &buyers, (sold.suite, key))?;
                let took = handshakes.run()?;
                if number > 0 {
                    let [menu, first, commits] = parts;
                    sold.menu_us.push(menu);
                    sold.whole_us.push(first);
                    sold.commits.push(commits);
                    shaken.whole_us.push(took);
                }
            }
        }
        Ok(())
    })?;
    Ok(firsts)
}

/// What sells and buys, one message an order.
struct Shop {
    options: Options,
    spec: Spec,
    folder: Folder,
    bank: FakeBank,
    commits: Commits,
    runtime: tokio::runtime::Runtime,
}

impl Shop {
    fn new(options: &Options) -> Result<Self, Failure> {
        let spec = Spec { size: options.size, k: options.k, windows: options.windows, messages: 1 };
        let (folder, bank, commits) = (Folder::new("bench-journals")?, FakeBank::new(), Commits::default());
        Ok(Self { options: options.clone(), spec, folder, bank, commits, runtime: sale::runtime()? })
    }

    fn journal(&self, role: &str) -> Result<Journal, Failure> {
        self.options.journal.start_counted(self.folder.path(), role, &self.commits)
    }

    /// A new buyer's first message: microseconds until the menu and the message were there, and commits until then.
    fn buy(&self, at: SocketAddr, journal: &Journal, (suite, key): (Suite, usize)) -> Result<[f64; 3], Failure> {
        let menu: Arc<OnceLock<Instant>> = Arc::default();
        let hears = menu.clone();
        let listener = Arc::new(move |event: &Event| {
            if matches!(event, Event::Ordering { .. }) {
                hears.get_or_init(Instant::now);
            }
        });
        let way = Way { suite, ..Way::from(self.options.journal) };
        let settings = sale::buyer_settings(&self.bank, (journal.clone(), way), &sale::buyer_key(key), listener)?;
        let (buyer, address, request) = (Buyer::new(settings), sale::address(at), sale::request(&self.spec));
        let mut sink = FirstOf { first: None, commits: self.commits.clone() };
        let before = self.commits.count();
        let (_stop, stopped) = tokio::sync::watch::channel(false);
        let start = Instant::now();
        let purchase = self.runtime.block_on(buyer.buy(&address, &request, &mut sink, stopped))?;
        if !purchase.is_settled() || purchase.delivered != 1 {
            return Err(format!("an order did not settle in full: {purchase:?}").into());
        }
        let us = |at: Option<Instant>| {
            let at = at.ok_or("a sale without a menu or a message")?;
            Ok::<_, Failure>(at.saturating_duration_since(start).as_secs_f64() * 1e6)
        };
        let (first, commits) = sink.first.unzip();
        let commits = u32::try_from(commits.unwrap_or_default().saturating_sub(before))?;
        Ok([us(menu.get().copied())?, us(first)?, f64::from(commits)])
    }
}

/// When its first message came, and how many commits had been made.
struct FirstOf {
    first: Option<(Instant, u64)>,
    commits: Commits,
}

impl Sink for FirstOf {
    fn write(&mut self, _seq: u64, _message: &Message<'_>) -> io::Result<()> {
        self.first.get_or_insert_with(|| (Instant::now(), self.commits.count()));
        Ok(())
    }

    fn flush(&mut self) -> io::Result<Option<Arc<dyn Barrier>>> {
        Ok(None)
    }

    fn go_back(&mut self, _mark: &Mark) -> io::Result<bool> {
        Ok(false)
    }
}

/// Handshakes of TLS with one way to agree on keys.
struct Handshakes {
    at: SocketAddr,
    client: Arc<ClientConfig>,
    /// Gone with the process: it waits for a connection when nobody comes any more.
    _serving: thread::JoinHandle<io::Result<()>>,
}

impl Handshakes {
    fn new(group: &'static dyn SupportedKxGroup) -> Result<Self, Failure> {
        let mut provider = aws_lc_rs::default_provider();
        provider.kx_groups = vec![group];
        let (mut server, mut client) = tls(provider)?;
        // Each one whole.
        client.resumption = Resumption::disabled();
        server.send_tls13_tickets = 0;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let at = listener.local_addr()?;
        let server = Arc::new(server);
        let serving = thread::Builder::new().name("bench-tls".into()).spawn(move || serve(&listener, &server))?;
        Ok(Self { at, client: Arc::new(client), _serving: serving })
    }

    /// Microseconds until the first byte behind one.
    fn run(&self) -> Result<f64, Failure> {
        let start = Instant::now();
        let stream = TcpStream::connect(self.at)?;
        stream.set_nodelay(true)?;
        let connection = ClientConnection::new(self.client.clone(), ServerName::try_from(HOST)?)?;
        StreamOwned::new(connection, stream).read_exact(&mut [0])?;
        Ok(crate::since(start).as_secs_f64() * 1e6)
    }
}

fn serve(listener: &TcpListener, server: &Arc<ServerConfig>) -> io::Result<()> {
    for stream in listener.incoming() {
        let stream = stream?;
        stream.set_nodelay(true)?;
        let connection = ServerConnection::new(server.clone()).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(connection, stream);
        stream.write_all(&[1])?;
        stream.flush()?;
    }
    Ok(())
}
