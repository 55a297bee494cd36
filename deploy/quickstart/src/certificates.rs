//! The quickstart's own certificate authority: made at the first start, kept with the data.

use crate::files::write_private;
use anyhow::Context as _;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use uuid::Uuid;

/// Name of the deployment in the agents' identities.
pub(crate) const DEPLOYMENT: &str = "quickstart";
/// Years that the certificates hold: longer than anyone keeps a quickstart.
const YEARS: i32 = 10;

/// Makes the authority, the collector's certificate and one for each agent, unless they are there.
pub(crate) fn ensure(dir: &Path, sites: &[&str], year: i32) -> anyhow::Result<()> {
    let is_complete = sites
        .iter()
        .chain(&["collector", "ca"])
        .all(|name| dir.join(format!("{name}.pem")).exists());
    if is_complete {
        return Ok(());
    }
    std::fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let authority = CertifiedIssuer::self_signed(authority_params(year)?, KeyPair::generate()?)?;
    issue(dir, "collector", &collector_params(year)?, &authority)?;
    for site in sites {
        issue(dir, site, &agent_params(site, year)?, &authority)?;
    }
    // Last: its presence says that the rest is there. The authority's key is not kept, so nobody can add an agent.
    write_private(&dir.join("ca.pem"), &authority.pem())
}

fn issue(
    dir: &Path,
    name: &str,
    params: &CertificateParams,
    authority: &CertifiedIssuer<'_, KeyPair>,
) -> anyhow::Result<()> {
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, authority)?;
    write_private(&dir.join(format!("{name}.key")), &key.serialize_pem())?;
    write_private(&dir.join(format!("{name}.pem")), &certificate.pem())
}

fn params(common_name: &str, year: i32) -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = date_time_ymd(year - 1, 1, 1);
    params.not_after = date_time_ymd(year + YEARS, 1, 1);
    Ok(params)
}

fn authority_params(year: i32) -> anyhow::Result<CertificateParams> {
    let mut params = params("Probefleet quickstart", year)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    Ok(params)
}

fn collector_params(year: i32) -> anyhow::Result<CertificateParams> {
    let mut params = params("collector", year)?;
    params.subject_alt_names.push(SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    params.subject_alt_names.push(SanType::DnsName("localhost".try_into()?));
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(params)
}

fn agent_params(site: &str, year: i32) -> anyhow::Result<CertificateParams> {
    let mut params = params(site, year)?;
    let identity = format!("spiffe://{DEPLOYMENT}/tenant/default/agent/{}", Uuid::now_v7());
    params.subject_alt_names.push(SanType::URI(identity.as_str().try_into()?));
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    Ok(params)
}
