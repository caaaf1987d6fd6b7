//! The world beyond the saga: which effects exist, and the actions that were given up and may still take effect.

/// What the world shows of one step.
#[derive(Clone, Copy, Default)]
pub struct Effect {
    pub exists: bool,
    /// How often it came into being.
    pub made: u32,
    /// Its compensation took effect: the action can't, from now on, unless it was on its way before.
    pub undone: bool,
    /// The other side said no to its key, or an operator saw to it: it never will.
    pub never: bool,
}

#[derive(Clone)]
pub struct World {
    pub effects: Vec<Effect>,
    /// Steps of which an action was given up and is still on its way, each as often as that happened.
    pub late: Vec<usize>,
    /// What was undone stays so: even an action that was on its way finds that its key is closed.
    strict: bool,
}

impl World {
    pub fn new(steps: usize, strict: bool) -> Self {
        Self {
            effects: vec![Effect::default(); steps],
            late: Vec::new(),
            strict,
        }
    }

    /// An action takes effect: at most once under its key.
    pub fn act(&mut self, index: usize) {
        let effect = &mut self.effects[index];
        if !effect.exists && !effect.undone && !effect.never {
            effect.exists = true;
            effect.made += 1;
        }
    }

    /// The action that was given up reaches the other side. `true`: it took effect, or had.
    pub fn act_late(&mut self, index: usize) -> bool {
        let effect = &mut self.effects[index];
        if effect.never || (effect.undone && self.strict) {
            return false;
        }
        effect.made += u32::from(!effect.exists);
        effect.exists = true;
        true
    }

    pub fn undo(&mut self, index: usize) {
        self.effects[index].exists = false;
        self.effects[index].undone = true;
    }

    pub fn is_on_its_way(&self, index: usize) -> bool {
        self.late.contains(&index)
    }
}
