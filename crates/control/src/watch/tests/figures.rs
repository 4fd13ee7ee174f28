//! What `/metrics` and the log tell.

use std::io::Write;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use strongroom_keys::provider::Answer;

use super::*;

/// Metrics of this thread alone: the runtime of these tests has no other.
fn recorded() -> (PrometheusHandle, metrics::LocalRecorderGuard<'static>) {
    let recorder = Box::leak(Box::new(PrometheusBuilder::new().build_recorder()));
    (recorder.handle(), metrics::set_default_local_recorder(recorder))
}

/// Whole numbers: the clock of these tests moves in seconds.
fn figure(page: &str, name: &str) -> Option<u64> {
    let line = page.lines().find(|line| line.split_once(' ').is_some_and(|(found, _)| found == name))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn an_unknown_answer_is_transient_counted_and_logged_once_by_its_code() {
    let (metrics, _recording) = recorded();
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    let house = House::new(500).await;
    house.vault.set(Mood::Says(Answer::Transient("Status4xx")));
    for _ in 0..3 {
        house.next_poll().await;
    }
    assert_eq!(house.state(), KeyState::Degraded);
    let page = metrics.render();
    assert_eq!(figure(&page, "control_key_polls_total{class=\"transient\",code=\"Status4xx\"}"), Some(3), "{page}");
    house.vault.set(Mood::Well);
    house.next_poll().await;
    let text = String::from_utf8(log.0.lock().clone()).unwrap();
    let said: Vec<&str> = text.lines().filter(|line| line.contains("Status4xx") && line.contains("did not unwrap")).collect();
    assert_eq!(said.len(), 1, "the same again is not news: {text}");
    assert!(said[0].contains("transient") && said[0].contains(&house.cluster.id.to_string()), "{}", said[0]);
    assert!(text.contains("the vault unwraps again"));
}

#[tokio::test]
async fn the_figures_of_a_key_follow_its_way() {
    let (metrics, _recording) = recorded();
    let house = House::new(510).await;
    let cluster = house.cluster.id.to_string();
    let page = || {
        house.watch.observe();
        metrics.render()
    };
    let state = |page: &str| -> Vec<KeyState> {
        let is = |state: &KeyState| figure(page, &format!("control_key_state{{cluster=\"{cluster}\",state=\"{state}\"}}")) == Some(1);
        KeyState::ALL.into_iter().filter(is).collect()
    };
    let of = |page: &str, name: &str| figure(page, &format!("control_key_{name}{{cluster=\"{cluster}\"}}")).unwrap();
    house.next_poll().await;
    house.sim.clock().advance(Duration::from_secs(5));
    let shown = page();
    assert_eq!(state(&shown), [KeyState::Active]);
    assert_eq!((of(&shown, "since_good_seconds"), of(&shown, "lease_left_seconds")), (5, 1_795));
    house.vault.set(Mood::Denies("KeyDisabled"));
    house.until(KeyState::Revoked, Duration::from_secs(15)).await;
    house.sim.clock().advance(Duration::from_secs(1));
    let shown = page();
    assert_eq!((state(&shown), of(&shown, "lease_left_seconds")), (vec![KeyState::Revoked], 0));
    assert_eq!(of(&shown, "state_age_seconds"), 1);
    assert_eq!(figure(&shown, "control_key_polls_total{class=\"denied\",code=\"KeyDisabled\"}"), Some(2));
    // From the first denial to the gate: the confirming call comes two seconds after it.
    assert_eq!(figure(&shown, "control_key_denial_to_gate_seconds_count"), Some(1), "{shown}");
    assert_eq!(figure(&shown, "control_key_denial_to_gate_seconds_sum"), Some(2), "{shown}");
    assert!(figure(&shown, "control_key_poll_seconds_count{class=\"good\"}").is_some_and(|polls| polls >= 2), "{shown}");
}
