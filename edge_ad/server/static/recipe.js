// The recipe in use, and the dialog that switches to another one.

import { get, post } from "./ask.js";
import { $, element } from "./format.js";
import { myName, rememberName } from "./name.js";

export function updateRecipe(state) {
  $("recipe").hidden = !state.recipes;
  $("recipe").textContent = state.recipe ? `Recipe: ${state.recipe}` : "Recipe";
}

export function setUpRecipe() {
  $("recipe").addEventListener("click", open);
  $("recipe-cancel").addEventListener("click", () => $("recipe-dialog").close());
  $("recipe-form").addEventListener("submit", (event) => {
    event.preventDefault();
    change();
  });
}

async function open() {
  $("recipe-by").value = myName();
  $("recipe-wrong").textContent = "";
  setBusy(false);
  $("recipe-dialog").showModal();
  try {
    const found = await get("/api/recipes");
    const options = found.recipes.map(({ name, number }) => {
      return element("option", { value: name, selected: name === found.recipe }, number ? `${name} (${number})` : name);
    });
    $("recipe-name").replaceChildren(...options);
    $("recipe-now").textContent = found.recipe;
  } catch (error) {
    $("recipe-wrong").textContent = error.message;
  }
}

async function change() {
  const by = $("recipe-by").value.trim();
  $("recipe-wrong").textContent = "";
  setBusy(true);
  try {
    await post("/api/recipe", { recipe: $("recipe-name").value, by });
    rememberName(by);
    $("recipe-dialog").close();
  } catch (error) {
    $("recipe-wrong").textContent = error.message;
  }
  setBusy(false);
}

// A bundle that is not open yet takes some seconds.
function setBusy(isBusy) {
  $("recipe-do").disabled = isBusy;
  $("recipe-do").textContent = isBusy ? "Switching…" : "Switch";
}
