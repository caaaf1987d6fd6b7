//! A definition as a picture: Mermaid for pages, DOT for Graphviz.

use std::fmt::Write as _;

use super::graph::{Definition, Phase, StepNode};
use super::step::StepKind;

impl Definition {
    /// A Mermaid flowchart. Compensable steps are boxes, the pivot a rhombus, retriable steps rounded; a wait for an instant is a
    /// hexagon, a wait for a signal a flag. A dashed edge leads to what is done when a step is refused.
    #[must_use]
    pub fn to_mermaid(&self) -> String {
        let mut text = String::from("flowchart LR\n");
        for (index, node) in self.steps().iter().enumerate() {
            let (open, close) = mermaid_shape(node);
            writeln!(text, "    s{index}{open}\"{}\"{close}", node.name)
                .expect("a String takes all");
        }
        for (earlier, later) in self.drawn_edges() {
            writeln!(text, "    s{earlier} --> s{later}").expect("a String takes all");
        }
        for (first, alternative) in self.drawn_alternatives() {
            writeln!(text, "    s{first} -. refused .-> s{alternative}")
                .expect("a String takes all");
        }
        text
    }

    /// A DOT digraph with the same shapes.
    #[must_use]
    pub fn to_dot(&self) -> String {
        let mut text = format!("digraph \"{}\" {{\n    rankdir=LR;\n", self.pinned());
        for (index, node) in self.steps().iter().enumerate() {
            let shape = dot_shape(node);
            writeln!(
                text,
                "    s{index} [label=\"{}\", shape={shape}];",
                node.name
            )
            .expect("a String takes all");
        }
        for (earlier, later) in self.drawn_edges() {
            writeln!(text, "    s{earlier} -> s{later};").expect("a String takes all");
        }
        for (first, alternative) in self.drawn_alternatives() {
            writeln!(
                text,
                "    s{first} -> s{alternative} [style=dashed, label=\"refused\"];"
            )
            .expect("a String takes all");
        }
        text.push_str("}\n");
        text
    }

    /// The edges that no path of other edges implies: what a reader needs to see. What waits for a step that has an alternative
    /// is reached from either.
    fn drawn_edges(&self) -> Vec<(usize, usize)> {
        let mut drawn = Vec::new();
        for (later, node) in self.steps().iter().enumerate() {
            for earlier in &node.needs {
                let followers = &self.step(*earlier).followers;
                let implied = node
                    .needs
                    .iter()
                    .chain(&node.instead_of)
                    .any(|other| followers.binary_search(other).is_ok());
                if !implied {
                    drawn.push((earlier.0, later));
                    let alternative = self.step(*earlier).alternative;
                    drawn.extend(alternative.map(|alternative| (alternative.0, later)));
                }
            }
        }
        drawn
    }

    fn drawn_alternatives(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let steps = self.steps().iter().enumerate();
        steps.filter_map(|(first, node)| Some((first, node.alternative?.0)))
    }
}

const fn mermaid_shape(node: &StepNode) -> (&'static str, &'static str) {
    match (node.kind, node.phase) {
        (StepKind::Timer, _) => ("{{", "}}"),
        (StepKind::Signal, _) => (">", "]"),
        (StepKind::Action, Phase::Compensable) => ("[", "]"),
        (StepKind::Action, Phase::Pivot) => ("{", "}"),
        (StepKind::Action, Phase::Retriable) => ("(", ")"),
    }
}

const fn dot_shape(node: &StepNode) -> &'static str {
    match (node.kind, node.phase) {
        (StepKind::Timer, _) => "hexagon",
        (StepKind::Signal, _) => "cds",
        (StepKind::Action, Phase::Compensable) => "box",
        (StepKind::Action, Phase::Pivot) => "diamond",
        (StepKind::Action, Phase::Retriable) => "ellipse",
    }
}
