use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use gatehouse_proto::config::v1;
use http::{HeaderMap, HeaderValue};

use super::{
    Observer, Record, Sink,
    metrics::{Gauges, Metrics},
};

#[derive(Clone, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl io::Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn observer() -> (Arc<Observer>, Arc<Metrics>, Output) {
    let (metrics, output) = (Arc::new(Metrics::default()), Output::default());
    (Observer::new(Arc::clone(&metrics), Box::new(output.clone())).unwrap(), metrics, output)
}

fn settings(log: bool, tracing: Option<(&str, u32)>) -> v1::Settings {
    v1::Settings {
        access_log: Some(v1::AccessLog { enabled: log, sampling_ppm: None }),
        tracing: tracing.map(|(endpoint, sampling_ppm)| v1::Tracing {
            endpoint: endpoint.into(),
            sampling_ppm,
            service_name: String::new(),
        }),
        ..v1::Settings::default()
    }
}

fn request(sink: &Sink, headers: &HeaderMap) -> bool {
    let trace = sink.begin(headers);
    sink.finish(&Record { trace, ..Record::example() });
    trace.recorded
}

fn active(metrics: &Metrics) -> String {
    let text = metrics.render(&Gauges::default(), &[]);
    text.lines().find_map(|line| line.strip_prefix("gatehouse_requests_active ")).unwrap().to_owned()
}

#[tokio::test]
async fn settings_change_while_it_runs() {
    let (observer, metrics, output) = observer();
    let sink = observer.worker(1);
    let plain = HeaderMap::new();
    let mut sampled = HeaderMap::new();
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    sampled.insert("traceparent", HeaderValue::from_static(parent));
    let collector = "http://127.0.0.1:1";
    for (log, tracing, expected) in [
        (true, None, (false, false)),
        (false, Some((collector, 1_000_000)), (true, true)),
        // The share is of those that the client did not decide on.
        (false, Some((collector, 0)), (false, true)),
        (true, Some(("ftp://nowhere", 1_000_000)), (false, false)),
        (false, None, (false, false)),
    ] {
        observer.configure(&settings(log, tracing));
        assert_eq!((request(&sink, &plain), request(&sink, &sampled)), expected, "{log} {tracing:?}");
    }
    drop(sink);
    tokio::task::spawn_blocking(move || observer.flush(Duration::from_secs(20))).await.unwrap();
    let written = output.0.lock().unwrap();
    assert_eq!(written.iter().filter(|byte| **byte == b'\n').count(), 4, "two settings with a log");
    assert!(
        metrics.render(&Gauges::default(), &[]).contains("code=\"200\"} 10\n"),
        "counted with and without a log"
    );
}

#[tokio::test]
async fn a_new_share_keeps_the_exporter() {
    let (observer, _, _) = observer();
    observer.configure(&settings(true, Some(("http://127.0.0.1:1", 5))));
    let first = observer.spans.load_full().unwrap();
    observer.configure(&settings(true, Some(("http://127.0.0.1:1", 6))));
    assert!(Arc::ptr_eq(&first, &observer.spans.load_full().unwrap()));
    observer.configure(&settings(true, Some(("http://127.0.0.1:2", 6))));
    assert!(!Arc::ptr_eq(&first, &observer.spans.load_full().unwrap()));
}

#[test]
fn a_request_is_active_from_its_beginning_to_its_end() {
    let (observer, metrics, _) = observer();
    let sinks = [observer.worker(1), observer.worker(2)];
    let trace = sinks[0].begin(&HeaderMap::new());
    sinks[1].begin(&HeaderMap::new());
    assert_eq!(active(&metrics), "2");
    sinks[0].finish(&Record { trace, ..Record::example() });
    assert_eq!(active(&metrics), "1");
}

#[tokio::test]
async fn a_share_is_logged_and_every_failure() {
    for (share, went_well) in [(0, 0..1), (250_000, 150..350), (1_000_000, 1_000..1_001)] {
        let (observer, _, output) = observer();
        let access_log = Some(v1::AccessLog { enabled: true, sampling_ppm: Some(share) });
        observer.configure(&v1::Settings { access_log, ..v1::Settings::default() });
        let sink = observer.worker(1);
        for status in [200; 1_000].into_iter().chain([404, 503]) {
            sink.begin(&HeaderMap::new());
            sink.finish(&Record { status, ..Record::example() });
        }
        drop(sink);
        tokio::task::spawn_blocking(move || observer.flush(Duration::from_secs(20))).await.unwrap();
        let lines = output.0.lock().unwrap().iter().filter(|byte| **byte == b'\n').count();
        assert!(went_well.contains(&(lines - 2)), "{share}: {lines}");
    }
}
