"""Removes what wikis and web pages leave in their text: templates, links, tags, tables, entities, closing sections."""

from __future__ import annotations

import html
import re

# Substrings, since `in` is far faster than one pattern; most documents hold none of them.
_TRACES = (
    "{", "}", "[", "]", "<", "|", "&", "==", "''", "://", "www.", "__", "()", "( ", "(,", "(;", "（）", "（、",
    "\n*", "\n#", "\n:", "\n;", "\n!",
)  # fmt: skip
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,30});")
_DROPPED = re.compile(
    r"<!--.{0,5000}?-->|<ref\b[^<>]*/>"
    r"|<(ref|math|gallery|timeline|score|syntaxhighlight|source|imagemap|script|style|table|chem|hiero)\b[^<>]*>"
    r".{0,5000}?</\1\s*>",  # bounded, lest thousands of unclosed tags cost a scan each
    re.DOTALL | re.IGNORECASE,
)
_BREAK = re.compile(r"</?(?:br|p|div|li|ul|ol|tr|h[1-6]|blockquote)\b[^<>]*>", re.IGNORECASE)
_TAG = re.compile(
    r"</?(?:abbr|b|big|bdi|bdo|center|cite|code|dd|del|dfn|dl|dt|em|font|hr|i|img|includeonly|ins|kbd|nowiki|noinclude"
    r"|onlyinclude|poem|pre|q|ref|references|rp|rt|ruby|s|samp|section|small|span|strike|strong|sub|sup|td|th|tt|u|var"
    r"|a|table|tbody|math|gallery)\b[^<>]*>",
    re.IGNORECASE,
)
_TEMPLATE = re.compile(r"\{\{[^{}]*\}\}")
_LINK = re.compile(r"\[\[([^\[\]|]*)(?:\|([^\[\]]*))?\]\]")
_NAMESPACE = re.compile(r"\s*:?[^\W\d_][^\W\d_ ]+(?: [^\W\d_]+)?:\S")
_MEDIA = re.compile(r"\.(?:jpe?g|png|gif|svg|tiff?|webp|og[gv]|webm|mp[34]|wav|flac|pdf|djvu)\b", re.IGNORECASE)
_MARK = re.compile(r"\[\d{1,3}\]")
_OUTSIDE = re.compile(r"\[(?:https?:)?//[^\s\]]{1,2000} ?([^\]\n]{0,1000})\]")
# Scripts without spaces would lend an address their next words, so it ends where such a script begins.
_ADDRESS = re.compile(
    r"(?:https?://|www\.)[^\s<>\"|«»“”\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3000-\u9fff\uac00-\ud7af\uff00-\uffef]+"
    r"(?<![.,;:!?)])"
)
_HOLLOW = re.compile(r"[(（][\s,;:،、]*[)）]")
_LEADING = re.compile(r"(?<=[(（])[\s,;:،、]+")
_QUOTES = re.compile(r"'{2,5}|__[A-Z]{3,20}__")
_LIST = re.compile(r"^[*#:;]+[ \t]*", re.MULTILINE)
_HEADING = re.compile(r"(={1,6})\s*(.*?)\s*={1,6}$")
_ROW = re.compile(r"^[{|]|^!.*\||!!|\|\||\d+px\||\bthumb\||\{\{|\}\}|\[\[|\]\]|\w=[\"'][^\"']*[\"']")

# Titles of the sections that close a Wikipedia article: references, notes, sources, literature, links, see also.
CLOSING = frozenset(
    title.strip().casefold()
    for title in """
references|external links|external link|see also|notes|notes and references|further reading|sources|footnotes
citations|verwysings|eksterne skakels|sien ook|bronne|referencias|vinclos externos|enlaces externos
véase también|bibliografía|المراجع|مراجع|وصلات خارجية|انظر أيضًا|انظر أيضا|مصادر|هوامش|المصادر|referencies
enllaces esternos|ver tamién|i̇stinadlar|istinadlar|xarici keçidlər|həmçinin bax|mənbə|mənbələr|ədəbiyyat
قایناقلار|иҫкәрмәләр|һылтанмалар|әҙәбиәт|крыніцы|спасылкі|гл. таксама|гл. яшчэ|зноскі|літаратура|источници
външни препратки|бележки|вижте също|литература|তথ্যসূত্র|বহিঃসংযোগ|আরও দেখুন|liammoù diavaez
notennoù ha daveennoù|izvori|reference|vanjske poveznice|također pogledajte|vanjski linkovi|vanjske veze
povezani članci|bilješke|referències|enllaços externs|vegeu també|bibliografia|související články|externí odkazy
literatura|poznámky|cyfeiriadau|dolenni allanol|gweler hefyd|referencer|eksterne henvisninger|se også|kilder
noter|litteratur|eksterne links|einzelnachweise|weblinks|siehe auch|literatur|quellen|anmerkungen|παραπομπές
εξωτερικοί σύνδεσμοι|δείτε επίσης|πηγές|σημειώσεις|βιβλιογραφία|referencoj|eksteraj ligiloj|vidu ankaŭ|notoj
notas|viited|välislingid|vaata ka|kirjandus|erreferentziak|kanpo estekak|ikus, gainera|منابع|پیوند به بیرون
پانویس|جستارهای وابسته|lähteet|aiheesta muualla|katso myös|viitteet|kirjallisuutta|références
notes et références|liens externes|lien externe|voir aussi|articles connexes|bibliographie|boarnen
keppelings om utens|tagairtí|naisc sheachtracha|féach freisin|véxase tamén|ligazóns externas|સંદર્ભ|બાહ્ય કડીઓ
આ પણ જુઓ|הערות שוליים|קישורים חיצוניים|ראו גם|לקריאה נוספת|सन्दर्भ|संदर्भ|बाहरी कड़ियाँ|इन्हें भी देखें
jegyzetek|források|további információk|kapcsolódó szócikkek|ծանոթագրություններ|արտաքին հղումներ|տես նաև
գրականություն|referensi|pranala luar|lihat pula|catatan kaki|rujukan|tilvísanir|tenglar|heimildir|tengt efni
note|altri progetti|collegamenti esterni|voci correlate|脚注|出典|関連項目|外部リンク|参考文献|注釈
pranala njaba|სქოლიო|რესურსები ინტერნეტში|იხილეთ აგრეთვე|ლიტერატურა|дереккөздер|сілтемелер|тағы қараңыз
сыртқы сілтемелер|пайдаланылған әдебиет|ឯកសារយោង|ಉಲ್ಲೇಖಗಳು|ಬಾಹ್ಯ ಕೊಂಡಿಗಳು|각주|외부 링크|같이 보기|참고 문헌
출처|булактар|шилтемелер|колдонулган адабияттар|notae|nexus externi|fontes|šaltiniai|išnašos|taip pat skaitykite
literatūra|atsauces|ārējās saites|skatīt arī|наводи|надворешни врски|поврзано|അവലംബം|പുറത്തേക്കുള്ള കണ്ണികൾ
ഇതും കാണുക|эшлэл|цахим холбоос|बाह्य दुवे|हे सुद्धा पहा|pautan luar|lihat juga|ကိုးကား|ပြင်ပလင့်ခ်များ
eksterne lenker|referanser|kjelder|referansar|sjå òg|bakgrunnsstoff|सन्दर्भ सामग्री|बाह्य लिङ्कहरू
यो पनि हेर्नुहोस्|referenties|externe links|externe link|zie ook|bronnen|bronnen, noten en/of referenties
referéncias|ligams extèrnes|ਹਵਾਲੇ|ਬਾਹਰੀ ਲਿੰਕ|ਇਹ ਵੀ ਦੇਖੋ|przypisy|linki zewnętrzne|zobacz też|حوالے|ہور ویکھو
referências|ligações externas|ver também|legături externe|vezi și|bibliografie|referințe|note și referințe
примечания|ссылки|см. также|источники|referencie|externé odkazy|pozri aj|zdroje|iné projekty|sklici
zunanje povezave|glej tudi|viri|sklici in opombe|referime|lidhje të jashtme|shiko edhe|референце|спољашње везе
види још|извори|spoljašnje veze|vidi još|tumbu luar|referenser|externa länkar|se även|källor|marejeo
viungo vya nje|tazama pia|tanbihi|மேற்கோள்கள்|வெளி இணைப்புகள்|இவற்றையும் பார்க்கவும்|మూలాలు|బయటి లింకులు
ఇవి కూడా చూడండి|эзоҳ|пайвандҳо|адабиёт|อ้างอิง|แหล่งข้อมูลอื่น|ดูเพิ่ม|mga sanggunian|sanggunian
panlabas na link|mga panlabas na link|kaynakça|dış bağlantılar|ayrıca bakınız|kaynaklar|искәрмәләр|сылтамалар
чыганаклар|әдәбият|примітки|посилання|джерела|див. також|حوالہ جات|بیرونی روابط|مزید دیکھیے|manbalar|havolalar
yana qarang|adabiyotlar|tham khảo|liên kết ngoài|xem thêm|chú thích|àwọn ìtọ́kasí|ìtọ́kasí|參考文獻|外部链接
外部連結|参见|參見|参看|参考资料|參考資料|注释|註釋|相关条目|延伸阅读
""".replace("\n", "|").split("|")
    if title.strip()
)


_LONGEST = max(map(len, CLOSING)) + 2


def strip_markup(document: str) -> tuple[str, int]:
    """Returns the text without markup (its spaces not yet collapsed) and by how many lines it is shorter.

    Dropped whole are headings, table rows, lines whose templates or links do not close, lines that held nothing but
    markup, and a closing section, from its title to the next heading written with `=` or to the end of the document.
    """
    if document[:1] in "*#:;!" or any(trace in document for trace in _TRACES):
        kept = _lines(_inline(document), _ROW)
    elif CLOSING.isdisjoint(document.casefold().replace(":", "").split("\n")):
        return document, 0
    else:
        kept = _lines(document, None)
    return "\n".join(kept), max(0, document.count("\n") + 1 - len(kept))


def _inline(document: str) -> str:
    if "&" in document:
        document = _ENTITY.sub(_character, _ENTITY.sub(_character, document))  # twice: `&amp;nbsp;` is common
    if "<" in document:
        document = _TAG.sub("", _BREAK.sub("\n", _DROPPED.sub("", document)))
    if "{" in document:
        document = _until_still(_TEMPLATE, "", document)
    if "[" in document:
        document = _OUTSIDE.sub(r"\1", _MARK.sub("", document))
        document = _until_still(_LINK, _label, document)
    if "://" in document or "www." in document:
        document = _ADDRESS.sub("", document)
    document = _LEADING.sub("", _HOLLOW.sub("", _QUOTES.sub("", document)))
    return _LIST.sub("", document)


def _character(match: re.Match[str]) -> str:
    return html.unescape(match[0]).replace("\n", " ").replace("\ufffd", "")


def _until_still(pattern: re.Pattern[str], replacement: object, document: str) -> str:
    """Replaces from the inside outwards, at most eight levels deep."""
    for _ in range(8):
        document, count = pattern.subn(replacement, document)  # type: ignore[call-overload]
        if not count:
            break
    return document


def _label(match: re.Match[str]) -> str:
    target, label = match[1], match[2]
    if _MEDIA.search(target) or (label is None and _NAMESPACE.match(target)):
        return ""
    return str(target if label is None else label.rpartition("|")[2])


def _lines(document: str, row: re.Pattern[str] | None) -> list[str]:
    kept: list[str] = []
    closing = 0  # the level of the heading that opened a closing section
    tables, ends = 0, document.count("\n|}")  # open ones; a table that is never closed must not swallow the rest
    for raw in document.split("\n"):
        line = raw.strip()
        if line.startswith("{|"):
            tables += tables < ends
        elif line.startswith("|}"):
            tables, ends = max(0, tables - 1), ends - 1
        heading = _HEADING.match(line) if line.startswith("=") else None
        level = len(heading[1]) if heading else 1
        if closing and heading and level <= closing:
            closing = 0
        if kept and not closing and (heading or len(line) <= _LONGEST):
            title = (heading[2] if heading else line).casefold().rstrip(" :")
            closing = level if title in CLOSING else 0
        if not (tables or heading or closing or not line or (row and row.search(line))):
            kept.append(line)
    return kept
