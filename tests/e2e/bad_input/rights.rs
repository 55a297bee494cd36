//! Files and folders that belong to others, or that others can write.

use super::{AGENT, COLLECTOR, ENDS, PLAN, POLICY};
use harness::command::{Unprivileged, is_root, listing, run};
use std::os::unix::fs::PermissionsExt as _;

/// Writes a policy with that mode, which every command that reads it must refuse.
fn refuse(user: &Unprivileged, mode: u32, said: &str) {
    user.write("policy.yaml", POLICY, mode);
    for arguments in [
        ["run", "--config", "agent.yaml"].as_slice(),
        &["run", "--config", "agent.yaml", "--check"],
        &["try", "plan.yaml", "--policy", "policy.yaml"],
    ] {
        let before = listing(user.dir());
        let ran = run(user.command("probefleet-agent").args(arguments), "", ENDS);
        assert_eq!(ran.code, Some(2), "{arguments:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(said), "{said}: {}", ran.stderr);
        let after = listing(user.dir());
        assert!(
            before.keys().all(|path| after.contains_key(path))
                && !user.dir().join("state").exists()
        );
    }
}

#[test]
fn a_policy_that_others_could_have_written_is_refused() {
    let user = Unprivileged::new();
    user.write("plan.yaml", PLAN, 0o600);
    user.write("agent.yaml", AGENT, 0o600);
    let writable = "policy.yaml can be written by group or others; `chmod go-w policy.yaml`";
    refuse(&user, 0o620, writable);
    refuse(&user, 0o602, writable);
    refuse(&user, 0o200, "policy.yaml: Permission denied");
    // The cure helps.
    let policy = user.write("policy.yaml", POLICY, 0o622);
    let cured = std::process::Command::new("chmod").arg("go-w").arg(&policy).status();
    assert!(cured.expect("runs").success());
    let check = ["run", "--config", "agent.yaml", "--check"];
    let ran = run(user.command("probefleet-agent").args(check), "", ENDS);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    if !is_root() {
        harness::skip(
            "a_policy_that_others_could_have_written_is_refused",
            "root, to give files away",
        );
        return;
    }
    // A third user's.
    std::os::unix::fs::chown(&policy, Some(65_533), Some(65_533)).expect("is ours to give");
    std::fs::set_permissions(&policy, std::fs::Permissions::from_mode(0o644)).expect("is ours");
    let ran = run(user.command("probefleet-agent").args(check), "", ENDS);
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("belongs to user 65533")
            && ran.stderr.contains("`chown root policy.yaml`"),
        "{}",
        ran.stderr
    );
    std::os::unix::fs::chown(&policy, Some(0), Some(0)).expect("is ours to give");
    let ran = run(user.command("probefleet-agent").args(check), "", ENDS);
    assert_eq!(ran.code, Some(0), "root's is good: {}", ran.stderr);
}

#[test]
fn a_folder_that_cannot_be_written_is_the_machines_fault() {
    let user = Unprivileged::new();
    for (name, text) in [
        ("plan.yaml", PLAN),
        ("policy.yaml", POLICY),
        ("agent.yaml", AGENT),
        ("collector.yaml", COLLECTOR),
    ] {
        user.write(name, text, 0o600);
    }
    for (program, config) in
        [("probefleet-agent", "agent.yaml"), ("probefleet-collector", "collector.yaml")]
    {
        let mut command = user.command(program);
        let closed = std::fs::Permissions::from_mode(0o500);
        std::fs::set_permissions(user.dir(), closed).expect("is ours");
        let ran = run(command.args(["run", "--config", config]), "", ENDS);
        let open = std::fs::Permissions::from_mode(0o700);
        std::fs::set_permissions(user.dir(), open).expect("is ours");
        assert_eq!(ran.code, Some(3), "{program}: {}", ran.stderr);
        assert!(
            ran.stderr.contains("state") && ran.stderr.contains("Permission denied"),
            "{program}: {}",
            ran.stderr
        );
        println!("{program}: {}", ran.stderr.trim());
    }
}
