//! The commented sample is a configuration, and says its defaults truly.

use crate::support::{PLAN, agreement, deploy};
use probefleet_collector::config::{Config, DEPLOYMENT, LISTEN, PORTAL, WINDOW_S};

fn load(sample: &str) -> Config {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).expect("writes");
    };
    std::fs::create_dir(folder.path().join("agreements")).expect("a folder");
    write("agreements/first-agreement.yaml", &agreement());
    write("plan.yaml", PLAN);
    write("collector.yaml", sample);
    Config::load(&folder.path().join("collector.yaml")).expect("is a configuration")
}

#[test]
fn the_sample_is_a_configuration() {
    let sample = std::fs::read_to_string(deploy().join("collector.yaml")).expect("reads");
    let config = load(&sample);
    assert_eq!((config.listen, config.portal), (LISTEN, PORTAL));
    assert!(config.tls.is_none() && !config.portal_public);

    // What is commented out is what holds anyway, but for TLS.
    let keys = [
        "# window:",
        "# listen:",
        "# portal:",
        "# portal_public:",
        "# deployment:",
        "# tls:",
        "#   ca:",
        "#   cert:",
        "#   key:",
    ];
    let mut spelt_out = String::new();
    for line in sample.lines() {
        let commented = keys.iter().any(|key| line.starts_with(key));
        spelt_out.push_str(if commented { &line[2..] } else { line });
        spelt_out.push('\n');
    }
    let config = load(&spelt_out);
    assert_eq!((config.listen, config.portal), (LISTEN, PORTAL));
    assert_eq!((config.window_s, config.deployment.as_str()), (WINDOW_S, DEPLOYMENT));
    assert!(config.tls.is_some() && !config.portal_public);
}
