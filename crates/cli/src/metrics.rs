//! The process's metrics recorder.

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use std::sync::{Arc, OnceLock};
use taskpass_api::MetricsRender;

/// Installs the recorder once in a process, and renders what it counted.
pub fn render() -> MetricsRender {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    let handle = HANDLE.get_or_init(|| {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        // Somebody else's recorder, in a test, stays; ours then renders nothing.
        drop(metrics::set_global_recorder(recorder));
        handle
    });
    Arc::new(|| handle.render())
}
