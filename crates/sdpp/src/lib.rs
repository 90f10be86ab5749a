//! Sell and buy live data, paid message by message.

pub mod audit;
