//! The rules by which the auditor counts, one variant each.

use std::fmt;

/// Declares the rules with their names and their sentences, so that none can lack either.
macro_rules! rules {
    ($($rule:ident $name:literal $text:literal,)+) => {
        /// One rule of the protocol that a statement can break.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Rule {
            $(#[doc = $text] $rule,)+
        }

        impl Rule {
            /// All rules.
            pub const ALL: &'static [Self] = &[$(Self::$rule,)+];

            /// Its stable name, for programs.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$rule => $name,)+
                }
            }

            /// What it asks for, in a sentence.
            pub const fn text(self) -> &'static str {
                match self {
                    $(Self::$rule => $text,)+
                }
            }
        }
    };
}

rules! {
    Form "form" "Every statement has the one canonical form and fields within their limits.",
    Signature "signature" "Every statement carries a valid signature of whoever it names as its issuer.",
    Issuer "issuer" "Each kind of statement is signed by the side that may make it.",
    OrderId "order-id" "Every statement behind the order names this order.",
    MenuSeller "menu-seller" "The menu is the seller's own.",
    OrderSeller "order-seller" "The order is meant for this seller.",
    OrderTerms "order-terms" "The order names a product and a payment option of its menu.",
    OrderWindows "order-windows" "The order asks for no more outstanding windows than the menu allows.",
    OrderChannel "order-channel" "An option that needs a channel is ordered with one.",
    AttachIndex "attach-index" "The number of the connection rises with every attach.",
    AcceptanceAttach "acceptance-attach" "An acceptance answers an attach, with the same number, and once.",
    AcceptanceExposure "acceptance-exposure" "The seller lets the buyer owe no more than the order says.",
    AcceptanceWindows "acceptance-windows" "The seller grants no more outstanding windows than the order says.",
    AcceptanceStart "acceptance-start" "A connection starts at the first message that is neither held nor paid.",
    Forgiven "forgiven" "What is forgiven lies behind all that stands, is void and is not charged.",
    InvoiceNumber "invoice-number" "Invoices are numbered one by one.",
    InvoicePrev "invoice-prev" "Each invoice names the one before it.",
    InvoiceFirst "invoice-first" "Each invoice begins where the one before it ends.",
    InvoiceWindows "invoice-windows" "An invoice covers at least one window; only the last may cover none.",
    InvoiceCount "invoice-count" "An invoice covers at most K messages per window.",
    InvoiceBytes "invoice-bytes" "The bytes invoiced are those of the messages, none longer than allowed.",
    InvoiceTime "invoice-time" "Time is invoiced where the price counts seconds, forwards and once.",
    InvoiceUnits "invoice-units" "The cumulative units are those before and those of this invoice.",
    InvoiceDue "invoice-due" "The amount due is the price of the cumulative units, exactly.",
    InvoiceLimit "invoice-limit" "No more is due than the order's limit.",
    InvoiceQuantity "invoice-quantity" "No more messages are invoiced than were ordered.",
    InvoicePaid "invoice-paid" "What an invoice credits is the total of an earlier payment, and never falls.",
    AfterLast "after-last" "Nothing is invoiced behind the last invoice.",
    Equivocation "equivocation" "No number and no message is invoiced twice.",
    PaymentPrev "payment-prev" "Each payment names the one before it.",
    PaymentInvoice "payment-invoice" "A payment answers an invoice.",
    PaymentVoid "payment-void" "A void invoice is not paid.",
    PaymentTotal "payment-total" "A payment's total is what its invoice says is due.",
    PaymentFalls "payment-falls" "The total paid never falls.",
    PaymentChannel "payment-channel" "A payment draws on the order's channel.",
    AckInvoice "ack-invoice" "An ack answers an invoice.",
    SettlementTotals "settlement-totals" "A settlement states the last invoice, the last payment and their totals.",
    DefaultUnpaid "default-unpaid" "A default names the newest invoice, which is unpaid.",
    DefaultTotals "default-totals" "A default states what is due and what was credited.",
    Digest "digest" "The data is what the invoice's digest commits to.",
    MessageSignature "message-signature" "Every message carries the seller's signature where the product says so.",
    Checkpoint "checkpoint" "The checkpoint is signed by the log, and by witnesses validly.",
    Inclusion "inclusion" "Every record is in the log that the checkpoint commits to.",
    RecordEntry "record-entry" "A record in the log is a signed entry of that log.",
    RecordContent "record-content" "A record holds the statement that it is said to hold.",
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
