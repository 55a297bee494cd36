//! `report --revisions` and `report --revision N`: what was published, as it was said then.

use super::{Args, Failure, Format};
use crate::config::Signed;
use crate::contract::period::PeriodLabel;
use crate::evaluator::key;
use crate::revision::Revision;
use crate::store::{AnyStore, Store as _, StoreError, TenantScope};
use crate::verdict::life::{revision_json, revision_text};
use serde_json::json;
use std::fmt::Write as _;

/// A list of what was published, or one result of it, if that is what is asked.
pub(super) async fn answer(
    args: &Args,
    store: &AnyStore,
    (signed, label): (&Signed, PeriodLabel),
) -> Result<Option<String>, Failure> {
    if let Some(number) = args.revision {
        return one(store, signed, label, number).await.map(Some);
    }
    if !args.revisions {
        return Ok(None);
    }
    let key = key(&signed.agreement, label);
    let period = args.period.as_ref().map(|_| key.period.as_str());
    let revisions = store.revisions(&TenantScope::default(), &key.agreement, period).await;
    list(args.format, signed, &revisions.map_err(failed)?).map(Some)
}

/// The result of a revision, to the last byte.
async fn one(
    store: &AnyStore,
    signed: &Signed,
    label: PeriodLabel,
    number: u64,
) -> Result<String, Failure> {
    let key = key(&signed.agreement, label);
    let scope = TenantScope::default();
    if let Some(result) = store.result(&scope, &key, number).await.map_err(failed)? {
        return Ok(format!("{result}\n"));
    }
    let known = store.revisions(&scope, &key.agreement, Some(&key.period)).await.map_err(failed)?;
    Err(Failure::Input(match known.len() {
        0 => format!("--revision {number}: nothing was published of {}", key.period),
        count => format!("--revision {number}: {} has revisions 1 to {count}", key.period),
    }))
}

fn list(
    format: Format,
    signed: &Signed,
    revisions: &[(String, Revision)],
) -> Result<String, Failure> {
    let zone = signed.agreement.zone();
    let mut text = String::new();
    match format {
        Format::Text if revisions.is_empty() => text.push_str("nothing was published yet\n"),
        Format::Text => {
            for (period, revision) in revisions {
                let number = revision.number;
                // Writing to a String cannot fail.
                let _infallible = writeln!(
                    text,
                    "{period}  revision {number}  {}",
                    revision_text(revision, zone)
                );
            }
        }
        Format::Json => {
            let listed = revisions.iter().map(|(period, revision)| {
                let mut keys = json!({"period": period});
                if let (Some(keys), Some(more)) =
                    (keys.as_object_mut(), revision_json(revision).as_object())
                {
                    keys.extend(more.clone());
                }
                keys
            });
            let listed: Vec<serde_json::Value> = listed.collect();
            let agreement = signed.agreement.id().as_str();
            text = format!("{}\n", json!({"agreement": agreement, "revisions": listed}));
        }
        Format::Csv => {
            let cure = "--format csv: revisions are listed as text or json";
            return Err(Failure::Input(cure.to_owned()));
        }
    }
    Ok(text)
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn failed(error: StoreError) -> Failure {
    Failure::Environment(error.to_string())
}
