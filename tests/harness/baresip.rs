//! Baresip (Debian: `baresip-core`) as a telephone that speaks: real RTP and RTCP of somebody else's making.

use crate::ports::free_port;
use crate::process::Process;
use crate::sipp::listens;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// How long it may take until it listens.
const READY: Duration = Duration::from_secs(10);
/// What it says: a tone of 400 Hz, for longer than any test lasts.
const TONE_S: u32 = 60;
/// Samples a second of that.
const RATE_HZ: u32 = 8_000;

/// A telephone on the loopback; gone when it is dropped.
pub struct Baresip {
    process: Process,
    /// Where it listens.
    pub port: u16,
    // Its configuration.
    _dir: tempfile::TempDir,
}

impl Baresip {
    /// One that takes every call at once.
    pub fn answering() -> Self {
        Self::start(&[])
    }

    /// One that calls.
    pub fn calling(uri: &str) -> Self {
        Self::start(&["-e", &format!("/dial {uri}")])
    }

    fn start(args: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let port = free_port();
        configure(dir.path(), port);
        let mut command = Command::new("baresip");
        command.arg("-f").arg(dir.path()).args(args).current_dir(dir.path());
        let mut process = Process::start_command(command, &dir.path().join("baresip.log"));
        process.wait_for("its port", READY, || listens(port).then_some(()));
        Self { process, port, _dir: dir }
    }

    /// What it printed.
    pub fn output(&self) -> String {
        self.process.output()
    }
}

/// All that it would ask a user for: an address of its own, G.711 alone, a file to speak from, and nobody to hear it.
fn configure(dir: &Path, port: u16) {
    let tone = dir.join("tone.wav");
    std::fs::write(&tone, wave()).expect("writes");
    let config = format!(
        "sip_listen 127.0.0.1:{port}\nnet_interface 127.0.0.1\nmodule_path /usr/lib/baresip/modules\n\
         module g711.so\nmodule aufile.so\nmodule aubridge.so\nmodule_app account.so\nmodule_app menu.so\n\
         audio_player aubridge,nil\naudio_alert aubridge,nil\naudio_source aufile,{}\n",
        tone.display()
    );
    let account = format!(
        "<sip:tone@127.0.0.1:{port}>;regint=0;answermode=auto;audio_codecs=PCMU/8000/1,PCMA/8000/1\n"
    );
    for (name, text) in
        [("config", config), ("accounts", account), ("contacts", "# none\n".to_owned())]
    {
        std::fs::write(dir.join(name), text).expect("writes");
    }
}

/// A sound file (RIFF WAVE, 16 bits, one channel).
fn wave() -> Vec<u8> {
    let samples = (0..TONE_S * RATE_HZ).map(|index| {
        let phase = f64::from(index % 20) / 20.0 * std::f64::consts::TAU;
        (phase.sin() * 8_000.0) as i16
    });
    let data: Vec<u8> = samples.flat_map(i16::to_le_bytes).collect();
    let length = data.len() as u32;
    let mut file = Vec::with_capacity(data.len() + 44);
    file.extend_from_slice(b"RIFF");
    file.extend_from_slice(&(36 + length).to_le_bytes());
    file.extend_from_slice(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    file.extend_from_slice(&RATE_HZ.to_le_bytes());
    file.extend_from_slice(&(RATE_HZ * 2).to_le_bytes());
    file.extend_from_slice(b"\x02\0\x10\0data");
    file.extend_from_slice(&length.to_le_bytes());
    file.extend_from_slice(&data);
    file
}
