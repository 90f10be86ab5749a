//! The numbers of the library, in the text format of Prometheus.

use metrics::{describe_gauge, gauge};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

/// Which program this is; label `version`.
const BUILD_INFO: &str = "sdpp_build_info";
/// Whether it is ready, as `/readyz` says.
const READY: &str = "sdpp_ready";

/// Upper ends of the histograms' buckets in seconds: a flush to a fast disk takes 0.1 ms, a rail that is
/// given up some seconds.
const BUCKETS: [f64; 16] =
    [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// What was counted. Cheap to clone.
#[derive(Clone)]
pub(super) struct Numbers(PrometheusHandle);

impl Numbers {
    /// Counts from now on.
    pub(super) fn install() -> Self {
        let buckets = PrometheusBuilder::new().set_buckets(&BUCKETS);
        let recorder = buckets.expect("the list of buckets is not empty").build_recorder();
        let numbers = Self(recorder.handle());
        // One program watches one role: nobody was first.
        let _ = metrics::set_global_recorder(recorder);
        sdpp::metrics::describe();
        describe_gauge!(BUILD_INFO, "always 1; the version of this program");
        describe_gauge!(READY, "1 while /readyz answers 200, else 0");
        gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        numbers
    }

    /// All of it, as Prometheus reads it.
    pub(super) fn render(&self, ready: bool) -> String {
        gauge!(READY).set(if ready { 1.0 } else { 0.0 });
        self.0.render()
    }

    /// Puts what histograms have gathered into their buckets: otherwise it grows until somebody reads.
    pub(super) fn keep_up(&self) {
        self.0.run_upkeep();
    }
}
