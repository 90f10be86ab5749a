//! Limits of what rails share.

/// Paid invoices that a voucher payer remembers, to refuse other terms for them.
pub(crate) const INVOICES_REMEMBERED_MAX: usize = 65_536;
/// Settled invoices that a payee remembers of an order.
pub(crate) const SETTLED_REMEMBERED_MAX: usize = 4096;
/// Orders that a payee keeps in memory; others are read again.
pub(crate) const ORDERS_CACHED_MAX: usize = 1024;
/// Rows or heads read at once.
pub(crate) const REPLAY_PAGE_MAX: usize = 1024;
