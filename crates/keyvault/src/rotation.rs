//! When a key gets a new version by itself, and when somebody is told that it expires soon. Pure: no clock.
//!
//! A policy has at most one action of each kind. What it says of time is in calendar months and days (ISO 8601), in UTC.
//! A key whose newest version is disabled is never rotated by its policy: somebody took it away, and a new version would
//! give it back.

use chrono::{DateTime, Days, Months};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::key::{Key, Version};
use crate::refusal::Refusal;

/// Days at least: from a version's making to its rotation, from a rotation to the expiry, of a version's life.
const ROTATE_DAYS_MIN: u32 = 7;
const EXPIRY_DAYS_MIN: u32 = 28;
/// Longer than that is a slip of the pen.
const MONTHS_MAX: u32 = 12 * 100;
const DAYS_MAX: u32 = 36_525;

/// A calendar duration: `P90D`, `P1Y6M`. Kept as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Span {
    text: String,
    months: u32,
    days: u32,
}

impl Span {
    fn parse(text: &str) -> Option<Self> {
        let mut rest = text.strip_prefix(['P', 'p']).filter(|rest| !rest.is_empty())?;
        let (mut months, mut days) = (0_u32, 0_u32);
        let mut units = "YMWD".chars();
        while !rest.is_empty() {
            let end = rest.find(|letter: char| !letter.is_ascii_digit()).filter(|end| (1..=5).contains(end))?;
            let count: u32 = rest[..end].parse().ok()?;
            let unit = rest[end..].chars().next()?.to_ascii_uppercase();
            // Each unit once, the larger ones first.
            units.find(|known| *known == unit)?;
            match unit {
                'Y' => months += count * 12,
                'M' => months += count,
                'W' => days += count * 7,
                _ => days += count,
            }
            rest = &rest[end + 1..];
        }
        let fits = months <= MONTHS_MAX && days <= DAYS_MAX && (months > 0 || days > 0);
        fits.then(|| Self { text: text.to_ascii_uppercase(), months, days })
    }

    /// Days that it has at least: no month is shorter than 28.
    fn days_min(&self) -> u32 {
        self.months * 28 + self.days
    }

    /// Seconds since 1970, and the same after that time.
    pub(crate) fn after(&self, at: i64) -> Option<i64> {
        let at = DateTime::from_timestamp(at, 0)?;
        Some(at.checked_add_months(Months::new(self.months))?.checked_add_days(Days::new(self.days.into()))?.timestamp())
    }

    fn before(&self, at: i64) -> Option<i64> {
        let at = DateTime::from_timestamp(at, 0)?;
        Some(at.checked_sub_months(Months::new(self.months))?.checked_sub_days(Days::new(self.days.into()))?.timestamp())
    }
}

impl TryFrom<String> for Span {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("a duration is like P90D or P1Y6M")
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        span.text
    }
}

/// When something is done with a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Trigger {
    TimeAfterCreate(Span),
    TimeBeforeExpiry(Span),
}

impl Trigger {
    fn is_due(&self, version: &Version, now: i64) -> bool {
        let at = match self {
            Self::TimeAfterCreate(span) => span.after(version.created),
            Self::TimeBeforeExpiry(span) => version.exp.and_then(|exp| span.before(exp)),
        };
        at.is_some_and(|at| at <= now)
    }

    fn value(&self) -> Value {
        match self {
            Self::TimeAfterCreate(span) => json!({"timeAfterCreate": span}),
            Self::TimeBeforeExpiry(span) => json!({"timeBeforeExpiry": span}),
        }
    }
}

/// A key's rotation policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Policy {
    rotate: Option<Trigger>,
    notify: Option<Trigger>,
    /// How long versions that rotation makes are good for.
    pub(crate) expiry: Option<Span>,
    created: i64,
    updated: i64,
}

/// What is to be done with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Rotate,
    /// To be told that the newest version expires soon.
    Tell,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PolicyIn {
    #[serde(default)]
    lifetime_actions: Option<Vec<ActionIn>>,
    attributes: Option<PolicyAttributesIn>,
}

#[derive(Deserialize)]
struct ActionIn {
    trigger: TriggerIn,
    action: ActionType,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TriggerIn {
    time_after_create: Option<String>,
    time_before_expiry: Option<String>,
}

#[derive(Deserialize)]
struct ActionType {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PolicyAttributesIn {
    expiry_time: Option<String>,
}

fn span(text: &str) -> Result<Span, Refusal> {
    Span::parse(text).ok_or_else(|| Refusal::bad("times of a rotation policy are ISO 8601 durations of years, months and days, like P90D"))
}

impl TriggerIn {
    fn check(self) -> Result<Trigger, Refusal> {
        match (self.time_after_create, self.time_before_expiry) {
            (Some(text), None) => span(&text).map(Trigger::TimeAfterCreate),
            (None, Some(text)) => span(&text).map(Trigger::TimeBeforeExpiry),
            _ => Err(Refusal::bad("a trigger has either timeAfterCreate or timeBeforeExpiry")),
        }
    }
}

impl PolicyIn {
    /// The policy, said at `now` for a key that had `before`.
    pub(crate) fn check(self, before: Option<&Policy>, now: i64) -> Result<Policy, Refusal> {
        let expiry = self.attributes.and_then(|attributes| attributes.expiry_time).filter(|text| !text.is_empty());
        let expiry = expiry.map(|text| span(&text)).transpose()?;
        let (mut rotate, mut notify) = (None, None);
        for ActionIn { trigger, action } in self.lifetime_actions.unwrap_or_default() {
            let place = match action.kind.to_ascii_lowercase().as_str() {
                "rotate" => &mut rotate,
                "notify" => &mut notify,
                _ => return Err(Refusal::bad("an action's type is Rotate or Notify")),
            };
            if place.replace(trigger.check()?).is_some() {
                return Err(Refusal::bad("a policy has one Rotate and one Notify at most"));
            }
        }
        if expiry.as_ref().is_some_and(|span| span.days_min() < EXPIRY_DAYS_MIN) {
            return Err(Refusal::bad(format!("expiryTime must be {EXPIRY_DAYS_MIN} days at least")));
        }
        match (&rotate, &expiry) {
            (Some(Trigger::TimeBeforeExpiry(_)), None) => {
                return Err(Refusal::bad("a rotation by timeBeforeExpiry needs an expiryTime: versions without one never expire"));
            }
            (Some(Trigger::TimeAfterCreate(span) | Trigger::TimeBeforeExpiry(span)), _) if span.days_min() < ROTATE_DAYS_MIN => {
                return Err(Refusal::bad(format!("a rotation is {ROTATE_DAYS_MIN} days from creation and expiry at least")));
            }
            (Some(Trigger::TimeBeforeExpiry(span)), Some(expiry)) if span.days_min() + ROTATE_DAYS_MIN > expiry.days_min() => {
                return Err(Refusal::bad(format!("the rotation must come {ROTATE_DAYS_MIN} days after a version's creation at least")));
            }
            (Some(Trigger::TimeAfterCreate(span)), Some(expiry)) if span.days_min() + ROTATE_DAYS_MIN > expiry.days_min() => {
                return Err(Refusal::bad(format!("the rotation must come {ROTATE_DAYS_MIN} days before a version's expiry at least")));
            }
            _ => {}
        }
        Ok(Policy { rotate, notify, expiry, created: before.map_or(now, |before| before.created), updated: now })
    }
}

impl Policy {
    /// What a key without one has: somebody is told 30 days before it expires.
    pub(crate) fn usual(created: i64) -> Self {
        let notify = Span::parse("P30D").map(Trigger::TimeBeforeExpiry);
        Self { rotate: None, notify, expiry: None, created, updated: created }
    }

    pub(crate) fn value(&self, kid: &str) -> Value {
        let actions = [("Rotate", &self.rotate), ("Notify", &self.notify)];
        let actions = actions.into_iter().filter_map(|(kind, trigger)| Some((kind, trigger.as_ref()?)));
        let actions: Vec<Value> = actions.map(|(kind, trigger)| json!({"trigger": trigger.value(), "action": {"type": kind}})).collect();
        json!({
            "id": format!("{kid}/rotationpolicy"),
            "lifetimeActions": actions,
            "attributes": {"expiryTime": self.expiry, "created": self.created, "updated": self.updated},
        })
    }
}

impl Key {
    /// What its policy wants done now. The newest version alone counts; a disabled one is left alone.
    pub(crate) fn due(&self, now: i64) -> Option<Due> {
        let (newest, policy) = (self.newest(), self.policy());
        if !newest.enabled {
            return None;
        }
        let due = |trigger: &Option<Trigger>| trigger.as_ref().is_some_and(|trigger| trigger.is_due(newest, now));
        if due(&policy.rotate) {
            return Some(Due::Rotate);
        }
        (due(&policy.notify) && !newest.told).then_some(Due::Tell)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{Base64Url, Public, RsaPublic};
    use crate::key::{Changes, VersionId};

    const DAY: i64 = 86_400;
    /// 2026-01-31, a day that not every month has.
    const START: i64 = 1_769_817_600;

    fn key(changes: &Changes) -> Key {
        let public = Public::Rsa(RsaPublic { n: Base64Url(vec![0xff; 256]), e: Base64Url(vec![1, 0, 1]) });
        let id = VersionId::parse(&"ab".repeat(16)).unwrap();
        Key { name: "k".into(), versions: vec![Version::new(id, public, START, changes).unwrap()], rotation: None }
    }

    fn policy(text: &str) -> Result<Policy, Refusal> {
        serde_json::from_str::<PolicyIn>(text).unwrap().check(None, START)
    }

    #[test]
    fn spans_are_calendar_time() {
        assert_eq!(Span::parse("P90D").unwrap().after(START), Some(START + 90 * DAY));
        assert_eq!(Span::parse("P1M").unwrap().after(START), Some(START + 28 * DAY), "the end of February");
        assert_eq!(Span::parse("P1Y2M1W3D").map(|span| (span.months, span.days)), Some((14, 10)));
        assert_eq!(Span::parse("p2y").map(String::from), Some("P2Y".into()));
        for wrong in ["", "P", "90D", "P-1D", "PT5H", "P1D1Y", "P1D1D", "P0D", "P999999D", "P1,5Y", "P2000Y", "P1"] {
            assert_eq!(Span::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn policies_that_cannot_work_are_refused() {
        let rotate = |trigger: &str, expiry: &str| {
            policy(&format!(r#"{{"lifetimeActions":[{{"trigger":{trigger},"action":{{"type":"Rotate"}}}}],"attributes":{expiry}}}"#))
        };
        rotate(r#"{"timeAfterCreate":"P90D","timeBeforeExpiry":null}"#, r#"{"expiryTime":"P180D"}"#).unwrap();
        rotate(r#"{"timeAfterCreate":"P7D"}"#, "null").unwrap();
        rotate(r#"{"timeBeforeExpiry":"P30D"}"#, r#"{"expiryTime":"P1Y"}"#).unwrap();
        for (trigger, expiry) in [
            (r#"{"timeAfterCreate":"P6D"}"#, "null"),
            (r#"{"timeBeforeExpiry":"P30D"}"#, "null"),
            (r#"{"timeBeforeExpiry":"P30D"}"#, r#"{"expiryTime":"P30D"}"#),
            (r#"{"timeAfterCreate":"P90D"}"#, r#"{"expiryTime":"P90D"}"#),
            (r#"{"timeAfterCreate":"P90D"}"#, r#"{"expiryTime":"P27D"}"#),
            (r#"{"timeAfterCreate":"P90D","timeBeforeExpiry":"P30D"}"#, r#"{"expiryTime":"P1Y"}"#),
            ("{}", "null"),
            (r#"{"timeAfterCreate":"soon"}"#, "null"),
        ] {
            assert!(rotate(trigger, expiry).is_err(), "{trigger} {expiry}");
        }
        let twice = r#"{"trigger":{"timeAfterCreate":"P90D"},"action":{"type":"rotate"}}"#;
        assert!(policy(&format!(r#"{{"lifetimeActions":[{twice},{twice}]}}"#)).is_err());
        assert!(policy(r#"{"lifetimeActions":[{"trigger":{"timeAfterCreate":"P90D"},"action":{"type":"Delete"}}]}"#).is_err());
    }

    #[test]
    fn a_key_is_due_at_its_second_and_not_before() {
        let with = |changes: &Changes, text: &str| Key { rotation: Some(policy(text).unwrap()), ..key(changes) };
        let text = r#"{"lifetimeActions":[{"trigger":{"timeAfterCreate":"P90D"},"action":{"type":"Rotate"}}]}"#;
        let plain = with(&Changes::default(), text);
        assert_eq!((plain.due(START + 90 * DAY - 1), plain.due(START + 90 * DAY)), (None, Some(Due::Rotate)));
        let disabled = with(&Changes { enabled: Some(false), ..Changes::default() }, text);
        assert_eq!(disabled.due(START + 900 * DAY), None, "what was taken away is not given back by a new version");

        let expires = Changes { exp: Some(START + 100 * DAY), ..Changes::default() };
        let text = r#"{"lifetimeActions":[{"trigger":{"timeBeforeExpiry":"P10D"},"action":{"type":"Rotate"}},
            {"trigger":{"timeBeforeExpiry":"P20D"},"action":{"type":"Notify"}}],"attributes":{"expiryTime":"P100D"}}"#;
        let mut both = with(&expires, text);
        assert_eq!((both.due(START + 80 * DAY - 1), both.due(START + 80 * DAY)), (None, Some(Due::Tell)));
        both.versions[0].told = true;
        assert_eq!((both.due(START + 90 * DAY - 1), both.due(START + 90 * DAY)), (None, Some(Due::Rotate)));
        both.versions[0].change(START, &Changes { exp: Some(START + 200 * DAY), ..Changes::default() }).unwrap();
        assert_eq!(both.due(START + 180 * DAY), Some(Due::Tell), "another expiry is told anew");

        let usual = key(&expires);
        assert_eq!((usual.due(START + 70 * DAY - 1), usual.due(START + 70 * DAY)), (None, Some(Due::Tell)));
        assert_eq!(key(&Changes::default()).due(START + 9_000 * DAY), None);
    }
}
