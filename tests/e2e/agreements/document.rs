//! The document for those who write agreements, with everything in it tried.

use super::{agreement, command};
use harness::root;
use std::path::Path;

/// A fenced block of the document: the words behind its fence, and its lines.
struct Block {
    line: usize,
    words: String,
    text: String,
}

fn blocks(document: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut open = false;
    for (number, line) in (1..).zip(document.lines()) {
        match line.strip_prefix("```") {
            Some(_) if open => open = false,
            Some(words) => {
                open = true;
                blocks.push(Block { line: number, words: words.to_owned(), text: String::new() });
            }
            None if open => {
                let block = blocks.last_mut().expect("was opened");
                block.text.push_str(line);
                block.text.push('\n');
            }
            None => {}
        }
    }
    assert!(!open, "the last block has an end");
    blocks
}

/// Types the commands of a block in a folder; each must print what stands below it.
fn type_commands(dir: &Path, block: &Block) {
    for shown in block.text.split("$ ").skip(1) {
        let (line, expected) = shown.split_once('\n').expect("a line");
        let ran = command(dir, line);
        assert_eq!(
            format!("{}{}", ran.stderr, ran.stdout),
            expected,
            "line {}: {line}",
            block.line
        );
    }
}

/// Keys of an objective or of an agreement make an agreement without errors.
fn check_keys(dir: &Path, block: &Block, text: &str) {
    std::fs::write(dir.join("checked.yaml"), text).expect("writes");
    let ran = command(dir, "probefleet-collector contract check checked.yaml");
    assert_eq!(ran.code, Some(0), "line {}:\n{text}{}", block.line, ran.stderr);
}

const KEPT: &str = "measure: availability, target: \">= 99%\"";

/// Files are written, keys are checked, commands are typed, in the order of the document.
#[test]
fn every_example_is_as_the_document_says() {
    let document = std::fs::read_to_string(root().join("collector/CONTRACTS.md")).expect("reads");
    let dir = tempfile::tempdir().expect("a folder");
    let mut typed = 0;
    for block in blocks(&document) {
        match block.words.split_whitespace().collect::<Vec<_>>().as_slice() {
            ["yaml", "keys"] => {
                check_keys(dir.path(), &block, &agreement(&block.text, &[("kept", KEPT)]));
            }
            ["yaml", "objective"] => {
                let frame = agreement("", &[("shown", "")]);
                let (frame, _) = frame.split_once("  shown:").expect("is there");
                let keys = block.text.replace('\n', "\n    ");
                let text =
                    format!("{frame}  shown:\n    service: voice\n    probe: call\n    {keys}\n");
                check_keys(dir.path(), &block, &text);
            }
            ["yaml" | "json", file] => {
                std::fs::write(dir.path().join(file), &block.text).expect("writes");
            }
            ["console"] => {
                type_commands(dir.path(), &block);
                typed += 1;
            }
            other => panic!("line {}: {other:?} is no kind of example", block.line),
        }
    }
    assert!(typed > 1, "commands are shown");
}
