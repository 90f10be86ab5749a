#![no_main]

sdpp_fuzz_targets::program!(std::env::var("SDPP_FUZZ_TARGET").expect("SDPP_FUZZ_TARGET names a target"));
