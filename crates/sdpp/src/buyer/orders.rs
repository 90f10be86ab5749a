//! What a buyer's journal says of its orders.

use sdpp_proto::buyer::BuyerOrder;
use sdpp_proto::codec::{ChannelId, StatementId};
use sdpp_proto::identity::{PublicKey, SigningKey};
use sdpp_proto::journal::Entry;
use sdpp_proto::money::{Amount, AssetId};
use sdpp_proto::statement::Kind;

use super::Note;
use crate::journal::{Journal, ORDERS, ReadError, note_key, order_stream};

/// What became of an order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OrderState {
    /// It goes on, or can.
    Open,
    /// An invoice was verified and is not paid: it goes on with paying it.
    Unpaid,
    /// Both sides have what they are owed, and this side has signed it.
    Settled,
    /// The seller has declared a default; what is owed can still be paid.
    Defaulted,
    /// The seller never took it, and its menu has changed since: it cannot go on.
    Void,
}

impl OrderState {
    /// Whether nothing is left to do.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Settled | Self::Void)
    }
}

/// An order of the journal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OrderInfo {
    /// The order.
    pub order: StatementId,
    /// What became of it.
    pub state: OrderState,
    /// The seller.
    pub seller: PublicKey,
    /// Topic of the product.
    pub topic: String,
    /// Messages ordered; none: open end.
    pub quantity: Option<u64>,
    /// Messages that invoices were verified for, with those forgiven.
    pub verified: u64,
    /// Cumulative amount due by verified invoices.
    pub due: Amount,
    /// Cumulative amount paid.
    pub paid: Amount,
    /// Most to spend.
    pub limit: Amount,
    /// What is paid with.
    pub asset: AssetId,
    /// The channel behind it.
    pub channel: Option<ChannelId>,
    /// Its rows were put back from a backup: it can only be settled.
    pub restored: bool,
    /// Address, sink and how far the sink is durable.
    pub note: Note,
}

/// The rows and the note of an order.
pub(super) async fn read(journal: &Journal, order: &StatementId) -> Result<(Vec<Entry>, Note), ReadError> {
    let entries = journal.read(order_stream(order)).await?;
    let note = journal.note(note_key(order)).await?;
    Ok((entries, note.as_deref().map(Note::of_text).unwrap_or_default()))
}

/// The orders of a buyer's journal. One that was lost before its first rows were whole is left out:
/// nothing of it has left.
///
/// # Errors
/// [`ReadError`].
pub async fn orders(journal: &Journal, key: &SigningKey) -> Result<Vec<OrderInfo>, ReadError> {
    let mut orders = Vec::new();
    for stream in journal.streams(ORDERS).await? {
        let entries = journal.read(stream).await?;
        let account = crate::bundle::menu_of(&entries).map(|menu| BuyerOrder::restore(key, &menu, &entries));
        let Some(Ok(account)) = account else { continue };
        let note = journal.note(note_key(&account.id())).await?;
        let note = note.as_deref().map(Note::of_text).unwrap_or_default();
        let restored = journal.is_restored(&account.id()).await?;
        orders.push(OrderInfo { restored, ..info(&account, &entries, note) });
    }
    Ok(orders)
}

fn info(account: &BuyerOrder, entries: &[Entry], note: Note) -> OrderInfo {
    let defaulted = entries.iter().any(|entry| matches!(entry, Entry::Statement(s) if s.kind == Kind::Default));
    let terms = account.terms();
    OrderInfo {
        order: account.id(),
        state: match () {
            () if account.is_settled() => OrderState::Settled,
            () if note.void => OrderState::Void,
            () if defaulted => OrderState::Defaulted,
            () if account.due() > account.paid() => OrderState::Unpaid,
            () => OrderState::Open,
        },
        seller: account.seller(),
        topic: terms.product.topic.clone(),
        quantity: terms.order.quantity,
        verified: account.verified(),
        due: account.due(),
        paid: account.paid(),
        limit: terms.order.limit,
        asset: terms.option.asset.clone(),
        channel: terms.order.channel,
        restored: false,
        note,
    }
}
