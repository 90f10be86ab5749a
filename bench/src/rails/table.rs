//! Results, as a table for people and as JSON lines for programs.

use std::fmt;

use super::{Options, Report, Row};
use crate::report::{self, json_of};

/// In the order of a row's figures.
const RAILS: [&str; 2] = ["ledger", "evm"];

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Options { rounds, vouchers, messages, k, size, journal, .. } = &self.options;
        report::write_head(f, &self.head)?;
        writeln!(
            f,
            "\nVouchers on an EVM chain, microseconds for one. Medians of {rounds} rounds of {vouchers}, [lowest highest].\n"
        )?;
        for (name, us) in [("sign", &self.vouchers.sign_us), ("verify", &self.vouchers.verify_us)] {
            let (low, high) = us.range();
            writeln!(f, "{name:<8} {:>8.1} [{low:.1} {high:.1}]", us.median())?;
        }
        if let Some(why) = &self.absent {
            return writeln!(f, "\nNo sales: there is no {why}");
        }
        writeln!(
            f,
            "\nSales of {messages} messages of {size} bytes, K = {k}, journals of class {}: messages a second between the ramp's \
             end and the last invoice,\nthen of the whole sale with opening its channel, and microseconds of processor for \
             a message (without the node's).\nMedians of {rounds} rounds, [lowest highest]; /ledger: the median of each \
             round's own ratio.\n",
            journal.name()
        )?;
        writeln!(f, "windows rail      steady/s {:>25} {:>12} {:>8} {:>8}", "", "whole/s", "CPU us", "/ledger")?;
        self.rows.iter().try_for_each(|row| row.write(f))
    }
}

impl Row {
    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (rail, ((steady, whole), cpu_us)) in RAILS.iter().zip(self.steady.iter().zip(&self.whole).zip(&self.cpu_us))
        {
            write!(
                f,
                "{:>7} {rail:<7} {:>10} {:>25}",
                self.windows,
                report::grouped(steady.median()),
                report::spread(steady)
            )?;
            write!(f, " {:>12} {:>8.3}", report::grouped(whole.median()), cpu_us.median())?;
            if *rail == "evm" {
                let (low, high) = self.ratio.range();
                write!(f, " {:>8.3} [{low:.3} {high:.3}]", self.ratio.median())?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

impl Report {
    /// One JSON object a line: the head, vouchers, then sales.
    pub fn json(&self) -> String {
        let Options { rounds, messages, k, size, journal, .. } = &self.options;
        let mut lines = vec![report::head_json(&self.head)];
        let (sign, verify) =
            (json_of("sign_us", &self.vouchers.sign_us), json_of("verify_us", &self.vouchers.verify_us));
        lines.push(format!("{{\"what\":\"voucher\",\"rounds\":{rounds},{sign},{verify}}}"));
        for row in &self.rows {
            let of = |what: &str, rates: &[report::Rates; 2]| {
                let [ledger, chain] = rates;
                format!("{},{}", json_of(&format!("ledger_{what}"), ledger), json_of(&format!("evm_{what}"), chain))
            };
            lines.push(format!(
                "{{\"what\":\"rails\",\"rounds\":{rounds},\"bytes\":{size},\"k\":{k},\"windows\":{},\"messages\":{messages},\
                 \"journal\":\"{}\",{},{},{},{}}}",
                row.windows,
                journal.name(),
                of("steady_per_s", &row.steady),
                of("per_s", &row.whole),
                of("cpu_us", &row.cpu_us),
                json_of("to_ledger", &row.ratio),
            ));
        }
        lines.join("\n")
    }
}
