//! The signs of attempts to steer a model that come with the program.
//!
//! A sign that is enough to refuse a turn weighs 70 or more, one that is only suspicious 40 to 60, and one that
//! counts beside others less. What they are worth is measured by `crate::guard`; `docs/guard.md` has the figures.

use colloquy_flow::{Pattern, SteeringSign};

/// The signs that come with the program.
pub(crate) fn built_in_signs() -> impl Iterator<Item = SteeringSign> {
    SIGNS.into_iter().filter_map(|(id, weight, source)| {
        Some(SteeringSign { id: id.into(), pattern: Pattern::compile(&in_ascii(source)).ok()?, weight })
    })
}

/// The pattern with the words of ASCII: boundaries of Unicode's words take the engine off its fast way in every text
/// that is not ASCII, and Unicode's letters make the signs together twice as large.
fn in_ascii(source: &str) -> String {
    source.replace(r"\b", r"(?-u:\b)").replace(r"\w", "[a-z0-9_]")
}

/// How many signs come with the program.
#[cfg(test)]
pub(crate) const BUILT_IN_SIGNS: usize = SIGNS.len();

/// What each sign is called, what it weighs in percent, and what it looks like.
const SIGNS: [(&str, u8, &str); 40] = [
    // Instructions that are to hold no longer, misspelt too.
    (
        "ignore-instructions",
        80,
        r"\b(?:ig(?:nor|nro|on|or)\w*|disreg\w+|forget|overrid\w+|bypass\w*|discard|drop|skip|break|set aside|stop (?:following|obeying)|(?:do not|don'?t) (?:follow|obey))\b[^.?!]{0,40}\b(?:prev\w*|prior|above|earlier|original|all|your|ur|any|these|those|safety|system)\b[^.?!]{0,30}\b(?:inst?ru\w*ions?|rules?|prom(?:p|t|pt)s?|guidelines?|directions?|directives?|constraints?|training|polic(?:y|ies)|programming|protocols?)\b",
    ),
    (
        "ignore-context",
        80,
        r"\b(?:ignore|disregard|forget|discard|overrul\w+|stop (?:following|obeying)|pay no attention to)\b[^.?!]{0,20}\b(?:(?:the|all|everything|anything|text) above|(?:everything|all|anything|whatever|what) you (?:were|have been|know|are)|what(?:ever)? (?:your|the) (?:operator|owner|developers?|makers?|company|system|admin\w*)|(?:guidelines|instructions|rules|prompt) (?:that |which )?you)\b|\bwhat(?:ever)? (?:is|was|stands) (?:\w+ )?in your (?:instructions|rules|prompt|guidelines)\b",
    ),
    (
        "void-instructions",
        70,
        r"\b(?:previous|prior|earlier|original|old|initial|your|configured)(?: \w+){0,2} (?:instructions|rules|prompts?|guidelines|policies|limits|restrictions|configuration)\b[^.?!]{0,20}\b(?:no longer (?:apply|hold|count)|do(?:es)? ?n[o']t apply to (?:me|us|this)|(?:are|is|were|was|have been|has been) (?:now )?(?:void|suspended|lifted|disabled|revoked|overridden|uninstalled))\b",
    ),
    (
        "void-context",
        70,
        r"\b(?:everything|anything|all|the (?:text|messages?|lines?|prompt))\b[^.?!]{0,15}\b(?:above|before (?:this|that))\b[^.?!]{0,20}\b(?:was (?:only |just )?a test|is (?:void|outdated|fake|obsolete)|are (?:void|outdated)|discard it)\b",
    ),
    (
        "new-instructions",
        70,
        r"\b(?:new|updated) (?:instructions?|directives?|rules|ones)\b[^.?!:]{0,15}:|\byour (?:new|real|actual|true|secret|only) (?:instructions?|rules?|directives?|task|goal|purpose) (?:is|are)\b|\b(?:replace|change|rewrite|update) your (?:\w+ )?(?:instructions?|rules|prompt|programming)\b",
    ),
    (
        "only-me",
        70,
        r"\b(?:only (?:my|these) (?:commands?|instructions?|orders|rules) (?:count|apply|matter)|(?:answer|listen|report|belong) only to me|you (?:now )?work for me|(?:prioriti[sz]e|follow|obey) (?:only )?(?:mine|my (?:instructions|commands|rules)))\b",
    ),
    // Text that pretends to come from elsewhere than the customer.
    (
        "fake-frame",
        80,
        r#"(?:<\|?/?(?:system|im_start|im_end|endoftext|assistant|inst|user_?input|prompt|context)\|?>|\[/?(?:INST|SYSTEM|SYS)\]|(?m:^)\s*#{2,}\s*(?:system|instructions?)\b|(?m:^)\s*(?:system|assistant|developer)\s*:|"role"\s*:\s*"(?:system|assistant|developer|tool))"#,
    ),
    (
        "end-of-input",
        60,
        r"\b(?:end of (?:user )?(?:input|message|prompt|conversation)|begin new (?:prompt|instructions))\b",
    ),
    (
        "to-the-assistant",
        50,
        r"\b(?:note|message|instructions?|reminder) (?:to|for) (?:the|any|an) (?:ai|assistant|bot|model|agent)\b|\b(?:assistant|ai|bot|model|agent)\b,? (?:when(?:ever)? you|that|who|which)? ?(?:are )?(?:read|reading|process|processing) (?:this|it)\b",
    ),
    (
        "authority",
        60,
        r"\b(?:i am|i'?m|this is|we are) (?:your|ur) (?:developers?|creators?|makers?|programmers?|admin\w*|owner|operator)\b|\b(?:i am|i'?m|this is|we are) [^.?!]{0,25}\b(?:openai|anthropic|deepmind)\b|\bauthori[sz]ed (?:red.?team|penetration|security|jailbreak)\b",
    ),
    (
        "claimed-rank",
        30,
        r"\b(?:i am|i'?m|this is) the (?:ceo|boss|head|director|owner) of (?:this|your|the) (?:company|shop|firm)\b",
    ),
    // Limits that are to fall.
    (
        "known-jailbreak",
        90,
        r"\b(?:d[a4]n m[o0]de|you(?:'re| are)(?: now)? DAN|do anything now|jailbreak (?:yourself|mode|prompt)|you(?:'ve| have)? (?:been|are|were|got) jailbroken|AIM mode|DUDE mode|evil mode|opposite day)\b|(?:^|[.!;]\s*)(?:please |now )?(?:enable|activate|enter|switch to|turn on|go to) (?:the |your )?(?:developer|god|debug|admin|root|sudo|unrestricted) mode\b",
    ),
    (
        "no-limits",
        70,
        r"\b(?:without|no|free (?:from|of)|not bound by|remov(?:e|ing)|disabl(?:e|ing)|turn off|switch off|lift|drop|leave out|with)\b[^.?!,]{0,25}\b(?:morals?|ethics?|ethical|censorship|guardrails?|moderation|content polic\w+|safety (?:filters?|warnings?|guidelines|protocols?|rules)|disclaimers?|your (?:filters?|restrictions|limits|rules|guidelines)|its (?:filters?|restrictions|limits|rules|guidelines) (?:off|removed|lifted))\b|\bnot bound by (?:any|the|your)\b",
    ),
    (
        "limitless-ai",
        70,
        r"\b(?:ai|bot|chatbot|assistant|agent|model|persona|if you (?:had|have|were))\b[^.?!]{0,25}\b(?:without|no|free (?:from|of)|not bound by|hates?|beyond)\b[^.?!]{0,15}\b(?:limits?|limitations?|rules|restrictions?|filters?|guidelines|supervision|morals?|constraints|polic\w+)\b",
    ),
    (
        "free-of-limits",
        70,
        r"\byou(?:'re| are)(?: now)? (?:free (?:from|of)|beyond|above|without)\b[^.?!]{0,15}\b(?:restrictions?|limits?|limitations?|rules|guidelines|constraints)\b|\b(?:ai|bot|assistant|model|you)\b[^.?!]{0,15}\b(?:its|your) (?:filters?|safety|restrictions) (?:(?:turned|switched) off|removed|lifted)\b|\b(?:ai|bot|assistant|model)\b[^.?!]{0,25}\b(?:never|not|cannot|can'?t|unable)\b[^.?!]{0,20}\b(?:decline|refuse|say no|object)\b",
    ),
    (
        "nothing-forbidden",
        60,
        r"\byou have no (?:rules|limits|restrictions|guidelines|morals?|filters?)\b|\bnothing is (?:forbidden|off.limits|prohibited)\b|\beverything is (?:allowed|permitted)\b",
    ),
    (
        "answer-unfiltered",
        70,
        r"\b(?:answer|respond|reply|speak|talk|go on|continue|write)\b[^.?!]{0,25}\b(?:unfiltered|uncensored|(?:without|with no|no) (?:\w+ )?(?:filters?|restrictions?|rules|limits?))\b|\b(?:uncensored|unfiltered|unrestricted|unlocked) (?:version of you\w*|ai|assistant|mode|self)\b|\bno more rules\b",
    ),
    (
        "ethics-off",
        70,
        r"\b(?:ethics?|safety|moral|moderation) (?:module|layer|filters?|protocols?|checks?|settings?)\b[^.?!]{0,20}\b(?:uninstalled|removed|disabled|off|gone|deactivated|suspended)\b",
    ),
    (
        "must-comply",
        50,
        r"\byou (?:must|have to|will|shall) (?:now )?(?:obey|comply with (?:me|my|all|any|every\w*)|answer (?:everything|anything)|(?:not|never) refuse|always (?:answer|obey|comply|say yes))\b|\bnever refuse (?:me|any|to)\b|\bwho (?:cannot|can'?t|never) (?:refuse|say no)|\byou can'?t say no\b|\bobey me\b|\b(?:do|always say|say) (?:what|whatever|as) (?:he|she|it) (?:would|is asked)\b",
    ),
    (
        "whatever-asked",
        70,
        r"\banswer (?:everything|anything|all|whatever) i (?:ask|say|want)\b|\beven if (?:it is|it's|that is) (?:illegal|unethical|forbidden|against)\b|\bno matter (?:what|how) (?:it is|i ask|i say|illegal|the rules)\b|\bwhatever it is\b",
    ),
    (
        "forced-beginning",
        60,
        r#"\b(?:start|begin) (?:your|every|each|the) (?:answer|reply|response|message)s? with\b|\b(?:reply|answer|respond|say) (?:only|just)(?: with)? (?:the word|["'“])|\bjust say [A-Z]+\b.{0,5}$"#,
    ),
    (
        "harmful-request",
        50,
        r"\b(?:how|steps?|explain\w*|recipe|teach)\b[^.?!]{0,40}\b(?:make|making|build|building|cook|hack|hacking|break into|get into|steal)\b[^.?!]{0,25}\b(?:bombs?|explosives?|poison|drugs|meth|malware|viruse?s?|weapons?|accounts?|shop|server)\b",
    ),
    // Roles the model is to play.
    (
        "new-role",
        70,
        r"\byou(?:'re| are) (?:now|no longer) (?:an? |the |my )?(?:[a-z0-9_-]+ ){0,2}(?:ai|assistant|\w*bot|hacker|pirate|manager|supervisor|admin\w*|agent|terminal|console|database|character|persona|mode)\b|\bfrom now on,? you(?:'re| are| act| obey| answer| behave| must| will (?:act|be|obey|answer|behave|always|never))\b",
    ),
    (
        "pretend",
        60,
        r"(?:^|[.!?,;:]\s*|\b(?:please|now|then|and|you) )(?:pretend (?:to be|that|you|the (?:customer|user))|role-?play as|act as (?:if you|an? (?:unrestricted|uncensored|evil|different|jailbroken|hacker)|the (?:system|admin\w*|operator|database))|simulate (?:being|an? )|speak as the (?:bot|ai)|impersonate)\b",
    ),
    (
        "persona",
        60,
        r"\b(?:take on|assume|adopt|play) the (?:persona|role|character|identity) of\b|(?:^|[.!?,;:]\s*|\b(?:please|and|always|you) )stay in character\b|\bimagine (?:that )?you(?:'re| are| were) (?:an? |the )(?:\w+ ){0,2}(?:ai|assistant|bot|clerk|employee|hacker|model|system|program)\b|\byou(?:'re| are) the (?:customer|user) and i(?:'m| am)\b",
    ),
    (
        "fiction",
        50,
        r"\b(?:in a (?:fictional|hypothetical) (?:world|story|setting|scenario)|(?:for|in) (?:a|my) (?:novel|story|screenplay|film|play)\b[^.?!]{0,60}\b(?:ai|bot|hacker|bomb|hack\w*|weapon|poison)|grand(?:ma|mother|pa|father)\b[^.?!]{0,15}\bused to (?:read|tell|recite)|hypothetically\b[^.?!]{0,30}\b(?:rules|hack\w*|bomb|ai)|(?:write|continue) (?:their|the|his|a) (?:dialogue|speech) )",
    ),
    // What the model is to give away.
    (
        "reveal-prompt",
        80,
        r"\b(?:reveal|show|print|repeat|output|display|tell|give|what|leak|dump|translate|summari[sz]e|quote|paste|recite|write|say|encode|asks?)\b[^.?!]{0,40}\b(?:(?:system|sytem|sys|hidden|initial|secret|developer|starting) (?:prom(?:pt|t)|message|instructions|rules)|(?:your|ur) (?:\w+ ){0,2}prom(?:pt|t)|(?:confidential|secret|hidden|internal) (?:rules|instructions|guidelines|configuration)|your (?:exact |full |whole )?configuration|instructions (?:verbatim|word for word))\b",
    ),
    (
        "reveal-context",
        70,
        r"\b(?:what (?:were you|you were|have you been) (?:told|instructed|given)|(?:text|words|message|everything|all)(?: that)? (?:you were given|(?:comes |came |is |stands )?(?:above|before) (?:this|my) (?:line|first|message|chat))|words of your (?:instructions|rules|prompt)|(?:not allowed|forbidden) to (?:tell|share with|reveal to|show) (?:me|us|anyone)|rules your (?:operator|owner|developers?|company) gave)\b",
    ),
    (
        "rules-asked",
        40,
        r"\b(?:tell|show|give|list|read)(?: me| us)? (?:all )?(?:of )?your rules\s*(?:[.!;]|$)|\b(?:customer|user|client|person|one) (?:before|ahead of) me (?:ask|say|said|write|wrote|tell|order|buy|bought)\w*",
    ),
    (
        "need-configuration",
        40,
        r"\b(?:need|want|send|share|give)\b[^.?!]{0,15}\byour (?:configuration|source code|weights|model name|training data)\b",
    ),
    (
        "others-data",
        80,
        r"\b(?:\b(?:show|give|tell|list|send|print|export|dump|get|forward|what|use|cancel|delete)\b[^.?!]{0,40}\b(?:data|orders?|address(?:es)?|e-?mails?|passwords?|names|numbers|chats?|history|records|details)\b[^.?!]{0,12}\b(?:of|from|by|for) (?:all |the )*(?:other|another|all|every) (?:users?|customers?|clients?|people|accounts?)|(?:give|show|send|dump|export|list|get|print)\b[^.?!]{0,25}\b(?:customers?|clients?|users?) (?:data(?:base)?|list|records|passwords))\b|\bi am not that (?:customer|user)\b",
    ),
    (
        "secrets",
        80,
        r"\b(?:show|print|list|dump|reveal|leak|tell|give|send|what|which)\b[^.?!]{0,40}\b(?:(?:your|all|the|any) (?:\w+ )?api keys|credentials|environment variables|private keys?|access tokens?|connection strings?|(?:admin\w*|root|database|master) password|password (?:of|for) (?:the )?(?:admin\w*|root|database|server|other)|card numbers (?:have|were|are|of))\b|\bcat \S*(?:secret|passwd|\.env)",
    ),
    (
        "send-away",
        80,
        r"!\[[^\]]{0,40}\]\(\s*https?://|\b(?:conversation|chat|messages?|history|data|answer)\b[^?!]{0,40}\b(?:(?:into|in|to) (?:a|the|this|my) (?:link|url|server|webhook)|https?://\S*[?&]\w{1,12}=)",
    ),
    // What tools are to do.
    (
        "code",
        80,
        r"\b(?:import os|os\.system|subprocess\.|rm -rf|curl https?:|wget https?:|document\.cookie|drop table|truncate table|union select|delete from \w+ where|169\.254\.169\.254)|/etc/(?:passwd|shadow)|\.\./\.\./|<script\b|\beval\(|'\s*or\s*'?1'?\s*=|';\s*(?:drop|delete|update|insert|select)\b",
    ),
    (
        "tool-abuse",
        70,
        r"\b(?:call|invoke|run|execute|use|trigger)\b[^.?!]{0,25}\b(?:tools?|functions?|shell|sql|command|\w+_\w+)\b[^.?!]{0,40}\b(?:without (?:asking|confirm)|skip|directly|immediately|delete|drop|rm|all|every)\b|\b(?:all|every|which|what|whatever)\b[^.?!]{0,12}\b(?:tools?|functions?|commands)\b[^.?!]{0,10}\byou (?:have|can|may)\b|\btool_calls?\b|\buse your tools?\b|\bthe (?:refund|payment|update|delete|cancel|admin) (?:tool|function) ?(?:for|on|to|$|[.,!])|\b(?:give|grant|set|change|make|delete|cancel)\b[^.?!]{0,60}\b(?:with|using) (?:the|your|a) (?:\w+ )?(?:tool|function)\b",
    ),
    (
        "skip-checks",
        60,
        r"\b(?:without|skip|bypass)\b[^.?!]{0,15}\b(?:confirmation|verification|(?:identity|security|all) checks?|approval)\b|\b(?:customer|user|caller) (?:is|has|was)?(?: ?already| ?been)* ?(?:verified|confirmed|approved)\b|\bcheck as passed\b|\bis_admin\b|\bgrant (?:me )?(?:admin|root)\b|\bprices?\b[^.?!]{0,25}\bto (?:0|zero)\b|\brefund of -\d|\b(?:do not|don'?t|without|never) (?:log\b|logging|ask\w*\b[^.?!]{0,20}\b(?:sure|confirm\w*|permission))|\b[a-z_]{3,30}\(\w+ ?= ?[\x22']",
    ),
    // What is hidden.
    (
        "encoded",
        70,
        r"\b(?:decode|convert|decrypt|decipher|answer|translate|read|unscramble)\b[^.?!]{0,30}\b(?:base64|rot13|hex|morse|cipher|backwards|first letters)\b[^.?!]{0,60}(?::|\b(?:follow|execute|obey|do|answer|run)\b)|\b(?:base64|rot13|hex|morse|backwards)\b[^.?!]{0,20}\b(?:and|then)? ?(?:do (?:it|what)|follow|execute|obey)\b|\bdecode (?:this|the following|it) and (?:answer|follow|do|execute|obey|reply)\b",
    ),
    ("blob", 50, r"(?:^|\s)(?:[a-z0-9+/]{20,}={1,2}|(?:[0-9a-f]{2}){14,})(?:\s|$)"),
    (
        "disguised",
        70,
        r"\b(?:(?:[a-z][ .*_-]{1,2}){10,}[a-z]|i[ .*_-]g[ .*_-]n[ .*_-]o[ .*_-]r[ .*_-]e|(?:ignore|disregard|forget)[._*-](?:all|any|the|your|previous)|1gn[o0]re|ign0re|instruct1[o0]ns?|prev1[o0]us|syst3m|pr0mpt|j[a4]1lbr\w+)\b|[a-z]\p{Cyrillic}+[a-z]|[a-z][\u{200B}\u{2060}\u{FEFF}][a-z]|[\u{E0020}-\u{E007E}]{8}",
    ),
    // The same in other languages.
    (
        "other-languages",
        80,
        r"\b(?:ignorier\w*|vergiss|missachte)\b[^.?!]{0,30}\b(?:anweisungen|regeln|vorgaben)\b|\b(?:ignore[zr]?|oublie[zr]?)\b[^.?!]{0,30}\b(?:instructions|règles|consignes)\b|\b(?:ignor[aei]\w*|olvid\w+|dimentic\w+|esque[cç]\w+)\b[^.?!]{0,30}\b(?:instrucciones|reglas|istruzioni|regole|instruções|regras)\b|\b(?:negeer|vergeet)\b[^.?!]{0,30}\b(?:instructies|regels)\b|(?:игнорируй|забудь)[^.?!]{0,30}(?:инструкци|правил)|(?:忽略|无视|忘记)[^。？！]{0,15}(?:指令|规则|提示)|(?:指示|ルール|命令)[^。？！]{0,10}(?:無視|忘れ)|\bdu bist (?:jetzt|nun|ab jetzt) eine?\b|\b(?:hältst dich|halte dich) an keine\b|\b(?:systemprompt|prompt (?:système|del? sistema))\b",
    ),
];
