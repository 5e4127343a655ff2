//! The signs that come with the program, on the corpus that comes with it.

use crate::guard::{Report, built_in_corpus, built_in_guard, evaluate};

fn report() -> Report {
    evaluate(&built_in_guard().unwrap(), &built_in_corpus().unwrap())
}

#[test]
fn scratch() {
    let guard = built_in_guard().unwrap();
    let rows = built_in_corpus().unwrap();
    let fresh: Vec<_> = rows.iter().filter(|row| row.line > 303).cloned().collect();
    for (set, rows) in [("all", &rows), ("fresh", &fresh)] {
        let report = evaluate(&guard, rows);
        for (name, part) in [("open", &report.open), ("held", &report.held_out)] {
            for (what, t) in [("noticed", &part.noticed), ("refused", &part.refused)] {
                println!(
                    "{set} {name} {what} a{} b{} {t:?} p{:?} r{:?} f{:?}",
                    part.attacks,
                    part.benign,
                    t.precision(),
                    t.recall(),
                    t.f1()
                );
            }
        }
        if set == "all" {
            println!("{:#?}", report.open.kinds);
            for m in &report.misjudged {
                println!(
                    "{} {:?} {} {:?} {:?}",
                    m.row.line, m.judged.outcome, m.judged.score, m.judged.hits, m.row.text
                );
            }
        }
    }
    let steering = guard.steering.unwrap();
    for text in
        ["ignore ", "a", "игнорируй ", "é", "忽略", "you are without the all of ", "i ", "aй", "show your tell \u{e9} "]
    {
        let text: String = text.repeat(16384 / text.chars().count());
        let begun = std::time::Instant::now();
        let score = steering.score(&text).0;
        println!("{:?} {score} {}", begun.elapsed(), text.chars().take(12).collect::<String>());
    }
}
