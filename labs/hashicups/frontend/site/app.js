"use strict";

// The page comes with the nine coffees in it. This script asks public-api for
// them as they are in the database, puts prices and ingredients in, and takes
// orders. Text from the answers is only ever set as text.

const GET_COFFEES = `query GetCoffees {
  coffees { id name image teaser description collection origin color price ingredients { id name quantity unit } }
}`;
const SIGN_UP = `mutation SignUp($username: String!, $password: String!) {
  signUp(auth: { username: $username, password: $password }) { token }
}`;
const LOG_IN = `mutation LogIn($username: String!, $password: String!) {
  login(auth: { username: $username, password: $password }) { token }
}`;
const ORDER = `mutation CreateOrder($items: [OrderItemInput!]) {
  order(items: $items) { id items { quantity coffee { name price } } }
}`;
const PAY = `mutation Pay($details: PaymentDetails) {
  pay(details: $details) { id message card_ciphertext }
}`;

const byId = (id) => document.getElementById(id);
const money = (hundredths) => "$" + (hundredths / 100).toFixed(2);
const coffees = new Map(); // id -> coffee
const order = new Map(); // id -> quantity

async function ask(query, variables, token) {
  const headers = { "Content-Type": "application/json" };
  if (token) headers.Authorization = token;
  const response = await fetch("/api", { method: "POST", headers, body: JSON.stringify({ query, variables }) });
  const answer = await response.json().catch(() => ({}));
  if (answer.errors && answer.errors.length) throw new Error(answer.errors[0].message);
  if (!response.ok || !answer.data) throw new Error("the shop answered with status " + response.status);
  return answer.data;
}

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

// pictureOf turns the database's "/packer.png" into the name of our drawing.
function pictureOf(coffee) {
  const match = /([a-z0-9-]+)\.[a-z]+$/.exec(coffee.image || "");
  return match ? match[1] : "cup";
}

function fillCard(card, coffee) {
  const picture = pictureOf(coffee);
  card.dataset.id = coffee.id;
  card.dataset.coffee = picture;
  card.dataset.collection = coffee.collection || "";
  card.hidden = false;
  if (coffee.color) card.style.setProperty("--accent", coffee.color);
  const image = card.querySelector("img");
  if (!image.src.endsWith("/images/" + picture + ".svg")) {
    image.src = "/images/" + picture + ".svg";
    image.onerror = () => { image.onerror = null; image.src = "/images/cup.svg"; };
  }
  card.querySelector(".card-collection").textContent = coffee.collection || "";
  card.querySelector(".card-name").textContent = coffee.name;
  card.querySelector(".card-price").textContent = money(coffee.price);
  card.querySelector(".card-teaser").textContent = coffee.teaser || "";
  card.querySelector(".card-description").textContent = coffee.description || "";
  const origin = coffee.origin || "";
  card.querySelector(".card-origin").textContent = origin ? "Since " + origin.charAt(0).toLowerCase() + origin.slice(1) : "";
  const list = card.querySelector(".card-ingredients");
  list.replaceChildren(...(coffee.ingredients || []).map((ingredient) => {
    const item = make("li", "", ingredient.name);
    item.append(" ", make("span", "quantity", ingredient.quantity + " " + ingredient.unit));
    return item;
  }));
  list.setAttribute("aria-label", "Ingredients of " + coffee.name);
  const add = card.querySelector(".card-add");
  add.disabled = false;
  add.setAttribute("aria-label", "Add " + coffee.name + " to your order");
}

async function showMenu() {
  const status = byId("status");
  const began = performance.now();
  try {
    const data = await ask(GET_COFFEES);
    const list = byId("cards");
    const cards = [...list.children];
    data.coffees.forEach((coffee, i) => {
      coffees.set(coffee.id, coffee);
      const card = cards[i] || list.appendChild(cards[0].cloneNode(true));
      fillCard(card, coffee);
    });
    cards.slice(data.coffees.length).forEach((card) => card.remove());
    const took = Math.round(performance.now() - began);
    status.className = "status";
    status.textContent = data.coffees.length + " coffees on today's menu";
    byId("timing").textContent = "Menu from the database in " + took + " ms";
    applyFilter(document.querySelector(".filter[aria-pressed=true]").dataset.filter);
  } catch (error) {
    status.className = "status status-bad";
    status.textContent = "Prices are not to be had at the moment: " + error.message + " ";
    const again = make("button", "again", "Try again");
    again.type = "button";
    again.addEventListener("click", showMenu);
    status.append(again);
  }
}

function applyFilter(collection) {
  for (const card of byId("cards").children) {
    card.hidden = collection !== "" && card.dataset.collection !== collection;
  }
  for (const button of document.querySelectorAll(".filter")) {
    button.setAttribute("aria-pressed", String(button.dataset.filter === collection));
  }
}

function showOrder() {
  let total = 0;
  let count = 0;
  const lines = [...order].map(([id, quantity]) => {
    const coffee = coffees.get(id);
    total += coffee.price * quantity;
    count += quantity;
    const line = make("li", "line");
    const image = make("img");
    image.src = "/images/" + pictureOf(coffee) + ".svg";
    image.alt = "";
    const less = make("button", "step", "\u2212");
    const more = make("button", "step", "+");
    less.type = more.type = "button";
    less.setAttribute("aria-label", "One " + coffee.name + " less");
    more.setAttribute("aria-label", "One " + coffee.name + " more");
    less.addEventListener("click", () => change(id, -1));
    more.addEventListener("click", () => change(id, 1));
    line.append(image, make("span", "line-name", coffee.name), less, make("span", "line-count", String(quantity)), more,
      make("span", "line-price", money(coffee.price * quantity)));
    return line;
  });
  if (lines.length === 0) lines.push(make("li", "line line-empty", "Nothing yet. The menu is right behind this."));
  byId("lines").replaceChildren(...lines);
  byId("total").textContent = money(total);
  byId("count").textContent = String(count);
  byId("pay").disabled = count === 0;
  return total;
}

function change(id, by) {
  const quantity = (order.get(id) || 0) + by;
  if (quantity > 0) order.set(id, quantity);
  else order.delete(id);
  showOrder();
}

// session signs the guest up, or logs in a guest who is known already.
async function session(username, password) {
  try {
    return (await ask(SIGN_UP, { username, password })).signUp.token;
  } catch {
    return (await ask(LOG_IN, { username, password })).login.token;
  }
}

async function placeOrder(event) {
  event.preventDefault();
  const notice = byId("notice");
  const form = new FormData(byId("order-form"));
  const total = showOrder();
  byId("pay").disabled = true;
  notice.className = "notice";
  notice.textContent = "Ordering ...";
  try {
    const token = await session(form.get("username"), form.get("password"));
    const items = [...order].map(([id, quantity]) => ({ coffee: { id }, quantity }));
    const placed = (await ask(ORDER, { items }, token)).order;
    const details = {
      name: form.get("username"), type: "Visa", number: form.get("number"),
      expiry: form.get("expiry"), cv2: Number(form.get("code")), amount: total / 100,
    };
    const paid = (await ask(PAY, { details }, token)).pay;
    order.clear();
    showOrder();
    notice.className = "notice notice-good";
    notice.textContent = "Order " + placed.id + " is on its way. " + paid.message;
    notice.append(make("code", "cipher", paid.card_ciphertext));
  } catch (error) {
    notice.className = "notice notice-bad";
    notice.textContent = "That did not work: " + error.message;
    byId("pay").disabled = false;
  }
}

byId("cards").addEventListener("click", (event) => {
  const button = event.target.closest(".card-add");
  if (!button) return;
  change(button.closest(".card").dataset.id, 1);
  byId("open-order").classList.add("bump");
  setTimeout(() => byId("open-order").classList.remove("bump"), 250);
});
document.querySelector(".filters").addEventListener("click", (event) => {
  const button = event.target.closest(".filter");
  if (button) applyFilter(button.dataset.filter);
});
byId("open-order").addEventListener("click", () => { byId("notice").textContent = ""; showOrder(); byId("order").showModal(); });
byId("close-order").addEventListener("click", () => byId("order").close());
byId("order-form").addEventListener("submit", placeOrder);
showMenu();
