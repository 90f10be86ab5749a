#![no_main]

sdpp_fuzz_targets::program!("journal_row");
