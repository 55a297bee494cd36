use super::*;
use probefleet_proto::yaml::Document;

fn expect(text: &str) -> Result<Expect, Problems> {
    let document = Document::parse("f", text)?;
    let mut problems = Problems::new("f");
    let expect = Expect::decode(&document.root, &mut problems);
    problems.into_result(expect)
}

#[test]
fn statuses_are_merged() {
    for (text, merged) in [
        ("{status: 200}", "200"),
        ("{status: [404, 200-299, 300]}", "200-300 404"),
        ("{status: [200-299, 250-260]}", "200-299"),
        ("{status: [200, 200]}", "200"),
        ("{}", "200-299"),
    ] {
        let canonical = expect(text).expect(text).canonical();
        let ranges: Vec<&str> = canonical["status"]
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(Value::as_str)
            .collect();
        assert_eq!(ranges.join(" "), merged, "{text}");
    }
    for text in [
        "{status: []}",
        "{status: 20}",
        "{status: 100}",
        "{status: 600}",
        "{status: 299-200}",
        "{status: +200}",
    ] {
        assert!(expect(text).is_err(), "{text}");
    }
}

#[test]
fn bodies_are_bytes() {
    let expect = expect("{contains: 'ä', matches: '(?-u)\\xff$'}").expect("valid");
    assert!(expect.check_body("ä\u{0}".as_bytes()).is_err());
    assert!(expect.check_body(&["ä".as_bytes(), &[0xff]].concat()).is_ok());
}

#[test]
fn ordinary_expressions_fit() {
    for text in [
        r"\\w+@\\w+\\.\\w{2,}",
        r"(?i)sign\\s+in",
        r"^v\\d+\\.\\d+\\.\\d+$",
        r"[[:alpha:]]{1,20}: \\S+",
    ] {
        assert!(expect(&format!("{{matches: \"{text}\"}}")).is_ok(), "{text}");
    }
}
