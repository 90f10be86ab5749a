//! Made-up worlds for tests and demos of SDPP. For now: [`liar`], peers that can break every rule.

pub mod liar;
