#![no_main]

sdpp_fuzz_targets::program!("config");
